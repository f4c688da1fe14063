"""The files that deploy the hub: valid by their schemas, and in step with each other."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dockerfile_parse import DockerfileParser

from agent_hub.config import PREFIX, Settings
from tests.deploy import files
from tests.test_docs import anchors

PLACES = Path(sys.executable).parent
STATE = "/var/lib/agent-hub"
SECRET_FILE = "_FILE"


def run(*command: str | Path) -> tuple[int, str]:
    """The exit code of a checker, and what it said."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    return done.returncode, done.stdout + done.stderr


def hadolint(path: Path) -> tuple[int, str]:
    return run(PLACES / "hadolint", path)


def compose_schema(path: Path) -> tuple[int, str]:
    checker = (sys.executable, "-m", "check_jsonschema")
    return run(*checker, "--builtin-schema", "vendor.compose-spec", path)


def kubernetes_schema(path: Path) -> tuple[int, str]:
    return run(sys.executable, "-m", "kubernetes_validate", "--strict", path)


CHECKS = [
    pytest.param(hadolint, files.DOCKERFILE, ("FROM ", "FORM "), id="Dockerfile"),
    pytest.param(compose_schema, files.COMPOSE, ("volumes:", "volume:"), id="compose"),
    *(
        pytest.param(kubernetes_schema, path, ("httpGet:", "httpget:"), id=path.stem)
        for path in files.MANIFESTS
    ),
]


@pytest.mark.parametrize(("check", "path", "fault"), CHECKS)
def test_a_file_is_as_its_reader_wants_it(
    check: Any, path: Path, fault: tuple[str, str], tmp_path: Path
) -> None:
    code, said = check(path)
    assert code == 0, said
    wrong = tmp_path / path.name
    wrong.write_text(path.read_text(encoding="utf-8").replace(*fault), encoding="utf-8")
    code, said = check(wrong)
    assert code != 0, "the checker does not see a fault"


# --- the image ----------------------------------------------------------------------------


def instructions(stage: int) -> list[tuple[str, str]]:
    """The instructions of one stage of the image."""
    parser = DockerfileParser(str(files.DOCKERFILE), cache_content=True)
    found: list[list[tuple[str, str]]] = []
    for line in parser.structure:
        if line["instruction"] == "FROM":
            found.append([])
        if found:
            found[-1].append((line["instruction"], line["value"]))
    return found[stage]


def values(stage: int, instruction: str) -> list[str]:
    return [value for name, value in instructions(stage) if name == instruction]


def test_the_image_ends_as_somebody_who_is_not_root() -> None:
    assert values(-1, "USER") == ["10001:10001"]
    names = [name for name, _ in instructions(-1)]
    assert not {"RUN", "COPY", "ADD"} & set(names[names.index("USER") :])


def test_the_image_holds_what_was_installed_from_wheels_and_nothing_of_the_tree() -> None:
    assert values(-1, "COPY") == ["--from=build /opt/agent-hub /opt/agent-hub"]
    assert values(-1, "ADD") == values(0, "ADD") == []


def test_the_image_is_stopped_as_the_hub_expects_and_asked_without_another_program() -> None:
    assert values(-1, "STOPSIGNAL") == ["SIGTERM"]
    (check,) = values(-1, "HEALTHCHECK")
    assert '"python"' in check
    assert not re.search(r"curl|wget", check)


def test_what_the_build_copies_is_sent_to_it_and_nothing_secret_is() -> None:
    ignored = (files.ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in ignored if line and not line.startswith("#")]
    assert rules[0] == "*"
    sent = {line[1:] for line in rules if line.startswith("!")}
    copied = {name for value in values(0, "COPY") for name in value.split()[:-1]}
    assert sent == copied
    assert not [name for name in sent if name.startswith(".") or "secret" in name]


def test_the_requirements_can_also_be_constraints() -> None:
    """pip takes no extras there: what an extra brings is pinned by its own name."""
    lines = (files.ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    for line in lines:
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[^\[\s;]+(; .+)?", line), line


# --- settings -----------------------------------------------------------------------------


def environments() -> Iterator[tuple[str, dict[str, str]]]:
    """The variables that each file sets for a hub."""
    image = " ".join(values(-1, "ENV"))
    yield "Dockerfile", dict(re.findall(r"(\S+)=(\S+)", image))
    for name, service in files.compose()["services"].items():
        if service.get("image") == "agent-hub":
            yield f"compose {name}", service["environment"]
    for path in files.MANIFESTS:
        for container in containers(path):
            yield path.stem, {one["name"]: one["value"] for one in container["env"]}
    unit = files.UNIT.read_text(encoding="utf-8")
    yield "systemd", dict(re.findall(r"^Environment=(\w+)=(.*)$", unit, re.MULTILINE))
    (render,) = files.documents(files.ROOT / "render.yaml")
    yield "render", {one["key"]: one.get("value", "") for one in render["services"][0]["envVars"]}


def containers(path: Path) -> Iterator[Any]:
    for document in files.documents(path):
        if document["kind"] in ("Deployment", "StatefulSet"):
            yield from document["spec"]["template"]["spec"]["containers"]


@pytest.mark.parametrize(("where", "variables"), [*environments()])
def test_a_file_sets_only_what_there_is(where: str, variables: dict[str, str]) -> None:
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    assert variables
    ours = {name for name in variables if name.startswith(PREFIX)}
    assert {name.removesuffix(SECRET_FILE) for name in ours} <= known


def test_a_hub_that_others_can_reach_asks_who_they_are() -> None:
    for where, variables in environments():
        if where not in ("Dockerfile", "systemd"):  # the image chooses nothing, the unit stays home
            assert variables["AGENT_HUB_AUTH"] in ("token", "jwt"), where
        assert "AGENT_HUB_INSECURE" not in variables, where


def test_the_state_is_where_the_volumes_are_and_a_hub_on_redis_has_none() -> None:
    for where in ("Dockerfile", "systemd"):
        assert dict(environments())[where]["XDG_STATE_HOME"] == str(Path(STATE).parent)
    services = files.compose()["services"]
    assert services["small"]["volumes"] == [f"state:{STATE}"]
    assert "volumes" not in services["hub"]
    for path in files.MANIFESTS:
        for hub in containers(path):
            mounted = [mount["mountPath"] for mount in hub["volumeMounts"]]
            assert (STATE in mounted) == (path.stem == "sqlite"), path


@pytest.mark.parametrize("path", files.MANIFESTS, ids=lambda path: path.stem)
def test_a_pod_may_do_little_and_is_asked_the_right_things(path: Path) -> None:
    for container in containers(path):
        allowed = container["securityContext"]
        assert allowed["readOnlyRootFilesystem"] is True
        assert allowed["allowPrivilegeEscalation"] is False
        assert allowed["capabilities"] == {"drop": ["ALL"]}
        assert container["livenessProbe"]["httpGet"]["path"] == "/livez"
        assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"


def test_only_this_machine_reaches_what_compose_opens() -> None:
    for name, service in files.compose()["services"].items():
        for port in service.get("ports", ()):
            assert port.startswith("127.0.0.1:"), name
    assert files.compose()["networks"]["store"] == {"internal": True}


# --- dashboard and alerts -----------------------------------------------------------------


def test_the_dashboard_can_be_provisioned_and_read() -> None:
    dashboard = json.loads(files.DASHBOARD.read_text(encoding="utf-8"))
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))
    titles = [panel["title"] for panel in files.panels()]
    assert all(titles)
    for panel in files.panels():
        assert panel["datasource"]["uid"] == "${datasource}", panel["title"]
    places = {
        (panel["gridPos"]["x"] + dx, panel["gridPos"]["y"] + dy): panel["title"]
        for panel in dashboard["panels"]
        for dx in range(panel["gridPos"]["w"])
        for dy in range(panel["gridPos"]["h"])
    }
    squares = sum(panel["gridPos"]["w"] * panel["gridPos"]["h"] for panel in dashboard["panels"])
    assert len(places) == squares, "two panels lie on one another"
    assert max(x for x, _ in places) < 24


def test_every_alert_says_what_to_do() -> None:
    page = files.ROOT / "docs" / "operate.md"
    for rule in files.rules():
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert rule["annotations"]["summary"]
        path, _, anchor = rule["annotations"]["runbook"].partition("#")
        assert files.ROOT / path == page
        assert anchor == rule["alert"].lower()
        assert anchor in anchors(page), rule["alert"]


def test_every_alert_has_a_test_of_its_own() -> None:
    tested = (files.ALERTS.parent / "alerts_test.yml").read_text(encoding="utf-8")
    for rule in files.rules():
        assert f'alertname="{rule["alert"]}"' in tested
