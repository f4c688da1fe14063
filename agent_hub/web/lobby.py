"""The connections on which nobody has shown a good credential yet, so many for each address."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from agent_hub.core.network import network_of

PLACES_OF_AN_ADDRESS = 512
"""Enough for all agents of a host that come at once; each frees its place with its first call."""


class Lobby:
    """Counts them, by address (an IPv6 one by its /64).

    `is_exempt` tells of an address whether it speaks for many, as a trusted proxy does.
    """

    def __init__(
        self,
        is_exempt: Callable[[str], bool] = lambda peer: False,
        places: int = PLACES_OF_AN_ADDRESS,
    ) -> None:
        self.places = places
        self._is_exempt = is_exempt
        self._networks: dict[object, str] = {}
        self._taken = Counter[str]()

    def __len__(self) -> int:
        return len(self._networks)

    def enter(self, connection: object, peer: str) -> bool:
        """Whether there is a place for a new connection."""
        if self._is_exempt(peer):
            return True
        network = network_of(peer)
        if self._taken[network] >= self.places:
            return False
        self._taken[network] += 1
        self._networks[connection] = network
        return True

    def leave(self, connection: object) -> None:
        """A credential was shown, or the connection is gone. Leaving twice is fine."""
        network = self._networks.pop(connection, None)
        if network is not None:
            self._taken[network] -= 1
            if not self._taken[network]:
                del self._taken[network]
