"""Old records go once all that is still true of them is written anew, a piece with each commit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from agent_hub.queue_backends.facts import Fact

MIN_BYTES = 16 * 1024 * 1024
GROWTH = 2
PIECE_BYTES = 256 * 1024

Piece = tuple[Fact, int]
"""One part of the model, whole, and about how many bytes it has."""


class Compaction:
    """Begins when the journal has grown to several times what is true in it.

    `pieces` walks over the whole model, part by part, each as it is when its turn has come.
    """

    def __init__(self, pieces: Callable[[], Iterator[Piece]], min_bytes: int = MIN_BYTES) -> None:
        self._pieces = pieces
        self._min_bytes = min_bytes
        self._grown = 0  # bytes since the last pass began
        self._whole = 0  # bytes that the last pass wrote
        self._left: Iterator[Piece] | None = None
        self._is_last = False  # whether the record under way ends the pass
        self._began_at = 0
        self._wrote = 0
        self.keep_from = 0
        """Records before this one are of no use any more; 0 when all are needed."""

    def read(self, size: int) -> None:
        """A record was found in the journal when it was opened."""
        self._grown += size

    @property
    def is_busy(self) -> bool:
        """Whether another commit is wanted, even if nobody waits for one."""
        return self._left is not None or self.keep_from > 0

    def step(self, number: int) -> Sequence[Fact]:
        """What the record of this number should hold beside what it is written for."""
        if self._left is None:
            if self.keep_from or self._grown < max(self._min_bytes, GROWTH * self._whole):
                return ()
            self._left, self._began_at, self._wrote, self._grown = self._pieces(), number, 0, 0
        return self._next(self._left)

    def _next(self, left: Iterator[Piece]) -> list[Fact]:
        facts: list[Fact] = []
        size = 0
        for fact, piece_size in left:
            facts.append(fact)
            size += piece_size
            if size >= PIECE_BYTES:
                self._wrote += size
                return facts
        self._wrote += size
        self._left, self._is_last = None, True
        return facts

    def written(self, size: int, first: int) -> None:
        """A record of so many bytes is in the journal, which begins with `first` (0: as before)."""
        self._grown += size
        if self._is_last:
            self._is_last = False
            self._whole = self._wrote
            self.keep_from = self._began_at
        elif first and first >= self.keep_from:
            self.keep_from = 0

    def failed(self) -> None:
        """A record was not written, and what it held anew neither: begin again some time."""
        if self._left is not None or self._is_last:
            self._left, self._is_last = None, False
            self._grown = max(self._min_bytes, GROWTH * self._whole)
