"""The sockets that have still to say who they are, so many for each address."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from agent_hub.core.errors import RateLimited
from agent_hub.core.network import network_of

CREDENTIAL_SECONDS = 10.0
PLACES_OF_AN_ADDRESS = 16
PLACES = 1_024


class WaitingRoom:
    """Counts them, by address (an IPv6 one by its /64) and in all."""

    def __init__(self) -> None:
        self._taken: Counter[str] = Counter()

    @contextmanager
    def place(self, peer: str) -> Iterator[None]:
        """A place while the block runs. Raises RateLimited when there is none."""
        network = network_of(peer)
        if self._taken[network] >= PLACES_OF_AN_ADDRESS or self._taken.total() >= PLACES:
            raise RateLimited(
                "too many sockets of your network have shown no credential yet",
                retry_after=CREDENTIAL_SECONDS,
            )
        self._taken[network] += 1
        try:
            yield
        finally:
            self._taken[network] -= 1
            if not self._taken[network]:
                del self._taken[network]
