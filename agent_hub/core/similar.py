"""Did you mean: registered ids like one that nobody registered."""

from __future__ import annotations

from difflib import get_close_matches
from itertools import islice

from agent_hub.core.presence import Presence

COMPARED = 500
SHOWN = 3
REMEMBERED = 1_000


class SimilarIds:
    """Comparing is slow (milliseconds), so each answer is kept until somebody comes or goes."""

    def __init__(self, presence: Presence) -> None:
        self._presence = presence
        self._answers: dict[str, list[str]] = {}
        presence.on_change = self._answers.clear

    def to(self, agent_id: str) -> list[str]:
        """Up to SHOWN ids, the nearest first."""
        if len(self._answers) >= REMEMBERED:
            self._answers.clear()
        answer = self._answers.get(agent_id)
        if answer is None:
            known = list(islice(self._presence.agent_ids, COMPARED))
            answer = get_close_matches(agent_id, known, n=SHOWN, cutoff=0.6)
            self._answers[agent_id] = answer
        return answer
