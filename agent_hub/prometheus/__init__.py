"""The hub's metrics for Prometheus. No label names an agent, a message or a path."""

from agent_hub.prometheus.hub_metrics import PrometheusMetrics
from agent_hub.prometheus.shared import Share

__all__ = ["PrometheusMetrics", "Share"]
