"""What the store is still to be told: it was away when it should have heard of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable

from agent_hub.core.errors import BackendUnavailable

Telling = Callable[[], Awaitable[None]]
"""One call of the store that may be repeated: each is idempotent."""


class Owed:
    """Calls that end something: they cannot be refused, only put off.

    A stream that closed, or an answer that was written, while the store was away must not keep
    its messages leased for ever.
    """

    def __init__(self) -> None:
        self._debts: deque[Telling] = deque()

    def __len__(self) -> int:
        return len(self._debts)

    async def tell(self, telling: Telling) -> None:
        """Tell the store now, or with the next upkeep that finds it."""
        try:
            await telling()
        except BackendUnavailable:
            self._debts.append(telling)

    async def settle(self) -> None:
        """Tell it again, oldest first. Raises BackendUnavailable while it is away.

        What fails in another way is not told once more: it would keep all others from their turn.
        """
        for _ in range(len(self._debts)):
            telling = self._debts.popleft()
            try:
                await telling()
            except BackendUnavailable:
                self._debts.appendleft(telling)
                raise
