"""`agent-hub token` and `agent-hub secret`: what the one who runs the hub gives out and keeps."""

from __future__ import annotations

import asyncio
import getpass
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from agent_hub.auth import sealed
from agent_hub.auth.revocations import Revocations
from agent_hub.auth.store import CredentialStore
from agent_hub.auth.tokens import PREFIX, Token, Tokens, id_of
from agent_hub.clock import SystemClock
from agent_hub.config import Settings, SettingsBesideAHub, SettingsError, load
from agent_hub.console import FAILED, USAGE_ERROR, moment, say, show
from agent_hub.core.audit import DONE, Record
from agent_hub.core.errors import HubError, Invalid
from agent_hub.core.principal import ORDINARY
from agent_hub.credential_flags import KEY_VARIABLE
from agent_hub.credentials import audit_log, credential_store

Flags = Mapping[str, Any]
Act = Callable[[Flags, CredentialStore], Awaitable[int]]


def run(flags: Flags) -> int:
    """Do what the command line says; the exit code."""
    try:
        if flags["command"] == "secret":
            return _SECRET[flags["action"]]()
        return asyncio.run(with_store(flags, _TOKEN[flags["action"]]))
    except (SettingsError, Invalid, sealed.NotOpened) as error:
        return say(str(error), USAGE_ERROR)
    except HubError as error:
        return say(error.detail, FAILED)
    except OSError as error:
        return say(f"{error.filename}: {error.strerror}", FAILED)


async def with_store(flags: Flags, act: Act) -> int:
    """Do something with the credentials of the hub that the settings or `--backend` name."""
    store = credential_store(settings_of(flags), SystemClock())
    await store.open()
    try:
        return await act(flags, store)
    finally:
        await store.close()


# --- tokens ---------------------------------------------------------------------------------


async def _create(flags: Flags, store: CredentialStore) -> int:
    """The token alone on stdout, so that a script can take it; it is never shown again."""
    with _audit(flags) as record:
        text, token = await _tokens(store).create(
            flags["agent"],
            name=flags["name"],
            scopes=flags["scope"] or None,
            lifetime=flags["expires"],
        )
        record("token.create", f"token:{token.id}", f"token:{token.name}")
    until = "for ever" if token.expires_at is None else f"until {moment(token.expires_at)}"
    print(text)
    return say(f"{PREFIX}{token.id} of {token.name} is good {until}, and is shown only now", 0)


async def _list(flags: Flags, store: CredentialStore) -> int:
    rows: list[tuple[str, ...]] = [("id", "name", "agents", "scopes", "created", "expires")]
    rows += [_row(token) for token in await _tokens(store).known()]
    show(rows)
    return 0


def _row(token: Token) -> tuple[str, ...]:
    expires = "never" if token.expires_at is None else moment(token.expires_at)
    if token.expires_at is not None and token.expires_at <= SystemClock().time():
        expires += " (expired)"
    ordinary = set(token.scopes) == ORDINARY
    scopes = "all but admin" if ordinary else ",".join(token.scopes)
    agents = ",".join(token.agents) or "none"
    return f"{PREFIX}{token.id}", token.name, agents, scopes, moment(token.created_at), expires


async def _revoke(flags: Flags, store: CredentialStore) -> int:
    with _audit(flags) as record:
        if flags["jti"] is not None:
            await Revocations(store).revoke(flags["jti"])
            record("token.revoke", f"jwt:{flags['jti']}")
            return say("the JWT of that name is good no more, on every node within 5 s", 0)
        if not await _tokens(store).revoke(flags["token"]):
            return say("there is no such token", FAILED)
        record("token.revoke", f"token:{id_of(flags['token'])}")
        return say("the token is good no more, on every node within 5 s", 0)


@contextmanager
def _audit(flags: Flags) -> Iterator[Callable[..., None]]:
    """Records acts in the audit log, if the settings name one; in a file of this program's own.

    To be opened before the act: what cannot be recorded is not to happen. Raises OSError.
    """
    audit = audit_log(settings_of(flags), SystemClock(), "-cli")

    def record(action: str, credential: str, subject: str = "") -> None:
        if audit is not None:
            audit.record(
                Record(
                    action=action, outcome=DONE, via="cli", credential=credential, subject=subject
                )
            )

    try:
        yield record
    finally:
        if audit is not None:
            audit.close()


def settings_of(flags: Flags) -> Settings:
    """Where the hub keeps what it knows; how it listens is not asked. Raises SettingsError."""
    given = {"backend": flags["backend"]} if flags.get("backend") else {}
    return load(given, SettingsBesideAHub)


def _tokens(store: CredentialStore) -> Tokens:
    return Tokens(store, SystemClock().time)


_TOKEN: dict[str, Act] = {
    "create": _create,
    "list": _list,
    "revoke": _revoke,
}

# --- secrets --------------------------------------------------------------------------------


def _key() -> int:
    print(sealed.new_key())
    return 0


def _encrypt() -> int:
    key = settings_of({}).secret_key
    if not key:
        return say(f"{KEY_VARIABLE} must hold a key; make one with `agent-hub secret key`", FAILED)
    if sys.stdin.isatty():
        secret = getpass.getpass("the secret: ")
    else:
        secret = sys.stdin.read().removesuffix("\n")
    print(sealed.seal(secret, key))
    return 0


_SECRET: dict[str, Callable[[], int]] = {"key": _key, "encrypt": _encrypt}
