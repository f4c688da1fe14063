"""What is deployed, as it lies in the repository."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "deploy"
DOCKERFILE = ROOT / "Dockerfile"
COMPOSE = ROOT / "compose.yaml"
ALERTS = DEPLOY / "prometheus" / "alerts.yml"
PROMETHEUS = DEPLOY / "prometheus" / "prometheus.yml"
DASHBOARD = DEPLOY / "grafana" / "dashboards" / "agent-hub.json"
UNIT = DEPLOY / "systemd" / "agent-hub.service"
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))

Rule = dict[str, Any]


def documents(path: Path) -> list[Any]:
    """The documents of a YAML file."""
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


def compose() -> Any:
    (document,) = documents(COMPOSE)
    return document


def rules(path: Path = ALERTS) -> list[Rule]:
    """The alert rules."""
    (document,) = documents(path)
    return [rule for group in document["groups"] for rule in group["rules"]]


def panels() -> list[Any]:
    """The panels of the dashboard, without its headings."""
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def dashboard_expressions() -> list[str]:
    """Every query of the dashboard, its variables as Grafana fills them in."""
    filled = {"$__rate_interval": "1m", "$__all": ".*", "$job": ".*", "$instance": ".*"}
    expressions = []
    for panel in panels():
        for target in panel["targets"]:
            expression = target["expr"]
            for name, value in filled.items():
                expression = expression.replace(name, value)
            expressions.append(expression)
    return expressions
