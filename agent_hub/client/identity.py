"""An agent's id, given or derived."""

from __future__ import annotations

import re
import unicodedata

from agent_hub.core.message import is_agent_id

SESSION_CHARACTERS = 8
MAX_SLUG = 64 - SESSION_CHARACTERS - 1


def agent_id_of(agent_id: str | None, name: str | None, session_id: str | None) -> str:
    """The given id, else `<slug of name>-<first 8 of session_id>`: Beta, 01TYEi4M… → beta-01TYEi4M.

    Raises ValueError when neither gives a legal id.
    """
    if agent_id is None:
        agent_id = _derived(name or "", session_id or "")
    if not is_agent_id(agent_id):
        raise ValueError(
            f"{agent_id!r} cannot be an agent id: 1 to 64 of A-Z a-z 0-9 . _ - "
            "starting with a letter or digit; ALL and hub are reserved"
        )
    return agent_id


def _derived(name: str, session_id: str) -> str:
    slug = _slug(name).lower()[:MAX_SLUG]
    session = _slug(session_id[:SESSION_CHARACTERS])
    if not (slug and session):
        raise ValueError("an agent needs agent_id, or name and session_id to derive it from")
    return f"{slug}-{session}"


def _slug(text: str) -> str:
    ascii_text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9]+", "-", ascii_text).strip("-")
