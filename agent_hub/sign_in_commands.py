"""`agent-hub login-code`, `session` and `key`: what the one who runs the hub does for people."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from agent_hub.auth.oauth.login_codes import LoginCodes
from agent_hub.auth.oauth.sessions import Session, Sessions
from agent_hub.auth.oauth.signing_keys import SigningKeys
from agent_hub.auth.store import CredentialStore
from agent_hub.clock import SystemClock
from agent_hub.config import SettingsError
from agent_hub.console import FAILED, USAGE_ERROR, moment, say, show
from agent_hub.core.errors import HubError, Invalid
from agent_hub.credential_commands import settings_of, with_store

Flags = Mapping[str, Any]


def run(flags: Flags) -> int:
    """Do what the command line says; the exit code."""
    act = _ACTIONS[flags["command"], flags.get("action")]
    try:
        return asyncio.run(with_store(flags, act))
    except (SettingsError, Invalid) as error:
        return say(str(error), USAGE_ERROR)
    except HubError as error:
        return say(error.detail, FAILED)


async def _login_code(flags: Flags, store: CredentialStore) -> int:
    """The code alone on stdout."""
    codes = LoginCodes(store, SystemClock().time)
    scopes = flags["scope"] or None
    print(await codes.make(name=flags["name"], agents=flags["agent"], scopes=scopes))
    return say("the code is good for ten minutes, once", 0)


async def _list(flags: Flags, store: CredentialStore) -> int:
    rows: list[tuple[str, ...]] = [
        ("id", "agent", "person", "known by", "program", "began", "last used")
    ]
    rows += [_row(session) for session in await _sessions(store).all()]
    show(rows)
    return 0


def _row(session: Session) -> tuple[str, ...]:
    began, used = moment(session.created_at), moment(session.last_active)
    said = (session.agent, session.person, session.proof, session.client_name)
    # Others chose these words, and a terminal obeys more than letters.
    who = ("".join(filter(str.isprintable, one)) for one in said)
    return (session.id, *who, began, used)


async def _end(flags: Flags, store: CredentialStore) -> int:
    sessions = _sessions(store)
    if flags["all"]:
        ended = [await sessions.end(session.id) for session in await sessions.all()]
        return say(f"{sum(ended)} sessions are over, on every node within 5 s", 0)
    if not await sessions.end(flags["session"]):
        return say("there is no such session", FAILED)
    return say("the session is over, on every node within 5 s", 0)


async def _rotate(flags: Flags, store: CredentialStore) -> int:
    settings = settings_of(flags)
    keys = SigningKeys(
        store, SystemClock(), settings.oauth_algorithm, secret_key=settings.secret_key
    )
    kid = await keys.rotate()
    return say(f"{kid} signs from now on, on every node within 30 s", 0)


def _sessions(store: CredentialStore) -> Sessions:
    return Sessions(store, SystemClock().time)


_ACTIONS: dict[tuple[str, str | None], Callable[[Flags, CredentialStore], Awaitable[int]]] = {
    ("login-code", None): _login_code,
    ("session", "list"): _list,
    ("session", "end"): _end,
    ("key", "rotate"): _rotate,
}
