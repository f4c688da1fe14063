"""Did you mean: registered ids like one that nobody registered."""

from __future__ import annotations

from difflib import get_close_matches
from heapq import nlargest
from itertools import islice

from agent_hub.core.message import ALL
from agent_hub.core.presence import Presence

COMPARED = 500
COMPARED_CLOSELY = 16
SHOWN = 3
REMEMBERED = 1_000


class SimilarIds:
    """Comparing closely is slow: up to half a millisecond each, in which nobody else is served.

    So only those are compared closely that begin and end alike, as what was mistyped does, and
    each answer is kept until somebody comes or goes.
    """

    def __init__(self, presence: Presence) -> None:
        self._presence = presence
        self._answers: dict[str, list[str]] = {}
        presence.on_change = self._answers.clear

    def to(self, agent_id: str) -> list[str]:
        """Up to SHOWN ids, the nearest first, whatever their case; ALL for who means everybody."""
        if len(self._answers) >= REMEMBERED:
            self._answers.clear()
        answer = self._answers.get(agent_id)
        if answer is None:
            answer = self._answers[agent_id] = self._nearest(agent_id.lower())
        return answer

    def _nearest(self, wanted: str) -> list[str]:
        if wanted == ALL.lower():
            return [ALL]
        known = nlargest(
            COMPARED_CLOSELY,
            islice(self._presence.agent_ids, COMPARED),
            key=lambda known: _common_ends(wanted, known.lower()),
        )
        lowered = {one.lower(): one for one in known}
        return [lowered[one] for one in get_close_matches(wanted, lowered, n=SHOWN, cutoff=0.6)]


def _common_ends(one: str, other: str) -> int:
    """So many characters are the same from the start on, and from the end."""
    return _common_start(one, other) + _common_start(one[::-1], other[::-1])


def _common_start(one: str, other: str) -> int:
    count = 0
    for mine, theirs in zip(one, other, strict=False):
        if mine != theirs:
            break
        count += 1
    return count
