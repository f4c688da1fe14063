"""Every backend that must keep the promise. A new one joins by one entry."""

from __future__ import annotations

from collections.abc import Callable

from agent_hub.core.clock import Clock
from agent_hub.core.queue_backend import Limits, QueueBackend
from agent_hub.queue_backends.memory import MemoryBackend

Factory = Callable[[Clock, Limits], QueueBackend]
"""A new, empty backend, not opened yet."""

FACTORIES: dict[str, Factory] = {"memory": MemoryBackend}
