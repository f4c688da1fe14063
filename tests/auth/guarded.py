"""A served hub that asks for credentials, and credentials of all kinds for it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from agent_hub.auth.revocations import Revocations
from agent_hub.auth.store import CredentialStore
from agent_hub.auth.tokens import Tokens
from agent_hub.core.principal import ORDINARY, Scope
from tests.auth.issuer import AUDIENCE, ISSUER, Issuer
from tests.auth.memory_store import MemoryStore
from tests.clock import ManualClock
from tests.server import RunningHub, running_hub

KEYS = Issuer(0).keys
"""Made once: an RSA key takes long."""


class Guarded:
    """The hub, and whoever gives out credentials for it."""

    def __init__(self, hub: RunningHub, store: CredentialStore, issuer: Issuer, clock: Any) -> None:
        self.hub = hub
        self.store = store
        self.issuer = issuer
        self.clock = clock
        self.tokens = Tokens(store, clock.time)

    async def token(
        self,
        *agents: str,
        scopes: Iterable[str] = ORDINARY,
        lifetime: float | None = None,
        name: str | None = None,
    ) -> str:
        text, _ = await self.tokens.create(
            agents or ("beta",), name=name, scopes=scopes, lifetime=lifetime
        )
        return text

    async def revoked(self) -> str:
        text = await self.token()
        await self.tokens.revoke(text)
        return text

    async def expired(self) -> str:
        return await self.token(lifetime=-1)

    async def revoked_jwt(self) -> str:
        await Revocations(self.store).revoke("taken back")
        return self.issuer.token(jti="taken back")

    async def bad_ones(self) -> dict[str, str | None]:
        """The value of Authorization, for every way in which it can be bad; None: not there."""
        good = await self.token()
        return {
            "none at all": None,
            "empty": "",
            "no token": "Bearer",
            "an empty token": "Bearer ",
            "another scheme": "Basic YmV0YTpiZXRh",
            "not said to be a bearer's": good,
            "a made-up token": f"Bearer {good[:-1]}{'a' if good[-1] != 'a' else 'b'}",
            "garbage": "Bearer éÿ",
            "an endless one": f"Bearer {'x' * 9_000}"[:8_000],
            "expired": f"Bearer {await self.expired()}",
            "revoked": f"Bearer {await self.revoked()}",
            "a JWT for another audience": f"Bearer {self.issuer.token(aud='https://other')}",
            "a JWT of another issuer": f"Bearer {self.issuer.token(iss='https://other')}",
            "an expired JWT": f"Bearer {self.issuer.token(exp=int(self.issuer.now) - 60)}",
            "a revoked JWT": f"Bearer {await self.revoked_jwt()}",
        }

    async def without(self, *scopes: Scope) -> str:
        """A token that may do all but this."""
        return await self.token("beta", scopes=set(Scope) - set(scopes))


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@asynccontextmanager
async def guarded_hub(folder: Path, clock: ManualClock, **settings: Any) -> AsyncIterator[Guarded]:
    """With tokens and JWTs; `folder` is for the issuer's keys."""
    issuer = Issuer.__new__(Issuer)
    issuer.now, issuer.keys, issuer.fetches = clock.time(), dict(KEYS), 0
    keys = folder / "jwks.json"
    keys.write_bytes(json.dumps({"keys": [issuer.jwk(kid) for kid in issuer.keys]}).encode())
    store = MemoryStore(clock.time)
    whole: dict[str, Any] = {
        "auth": ("token", "jwt"),
        "jwt_issuer": ISSUER,
        "jwt_audience": AUDIENCE,
        "jwt_jwks": str(keys),
        **settings,
    }
    async with running_hub(clock=clock, credentials=store, **whole) as hub:
        yield Guarded(hub, store, issuer, clock)
