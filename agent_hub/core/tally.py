"""What was handed over and what was settled, told to everyone who keeps count of it."""

from __future__ import annotations

from collections.abc import Sequence

from agent_hub.core.audit import Audit
from agent_hub.core.clock import Clock
from agent_hub.core.mail import Acked
from agent_hub.core.message import Delivery
from agent_hub.core.metrics import Metrics
from agent_hub.core.trail import TRAIL


class Tally:
    """Tells the trail, the audit log and the metrics alike. `clock` is the store's."""

    def __init__(self, clock: Clock, metrics: Metrics, audit: Audit) -> None:
        self._clock = clock
        self._metrics = metrics
        self._audit = audit

    def delivered(self, via: str, deliveries: Sequence[Delivery]) -> None:
        """Messages were written to their recipient at the door `via`."""
        if TRAIL.is_kept:
            TRAIL.delivered(via, deliveries)
        self._audit.delivered(via, deliveries)
        now = self._clock.time()
        for delivery in deliveries:
            self._metrics.delivered(via, delivery.attempt > 1, now - delivery.message.accepted_at)

    def acked(self, mode: str, acked: Sequence[Acked]) -> None:
        """Messages were settled; `mode` is auto or manual."""
        if TRAIL.is_kept:
            TRAIL.acked(mode, acked)
        now = self._clock.time()
        for one in acked:
            self._metrics.acked(mode, now - one.accepted_at)
