"""Health and metrics, for those who run the hub."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib.resources import files
from typing import Annotated

import msgspec
from aiohttp import web
from msgspec import Meta, Struct

from agent_hub.core.errors import BackendUnavailable, Draining
from agent_hub.core.hub import Hub
from agent_hub.core.principal import Scope
from agent_hub.web.bodies import query
from agent_hub.web.keys import CALL
from agent_hub.web.reply import Reply

encode = msgspec.json.Encoder().encode

PAGE_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)

Scrape = Callable[[str], Awaitable[tuple[bytes, str]]]
"""An Accept header in; the metrics' text and its content type out."""


class HealthAnswer(Struct):
    """`durability` says what an accepted message survives.

    Who shows no credential where one is asked for is told `status` alone.
    """

    status: Annotated[str, Meta(extra_json_schema={"enum": ["ok", "draining"]})]
    version: str | msgspec.UnsetType = msgspec.UNSET
    backend: str | msgspec.UnsetType = msgspec.UNSET
    durability: str | msgspec.UnsetType = msgspec.UNSET
    agents: int | msgspec.UnsetType = msgspec.UNSET
    uptime_seconds: float | msgspec.UnsetType = msgspec.UNSET


class Check(Struct):
    """`status` is ok or the code of what is wrong."""

    name: str
    status: str


class ReadyAnswer(Struct):
    """`checks` are listed when asked for."""

    status: Annotated[str, Meta(extra_json_schema={"enum": ["ok", "unavailable"]})]
    checks: list[Check] | msgspec.UnsetType = msgspec.UNSET


class ReadyQuery(Struct):
    """What to tell."""

    verbose: Annotated[str | None, Meta(description="in any form: list each check")] = None


class Operations:
    """The handlers of /health, /livez, /readyz, /metrics and the hub's own page.

    `is_guarded`: this hub asks for credentials, and tells little to those who show none.
    """

    def __init__(self, hub: Hub, scrape: Scrape, version: str, *, is_guarded: bool = False) -> None:
        self._hub = hub
        self._is_guarded = is_guarded
        self._scrape = scrape
        self.version = version
        self._page = files("agent_hub.web").joinpath("index.html").read_bytes()

    async def health(self, request: web.Request) -> Reply:
        """What this hub is and how it is."""
        status = "draining" if self._hub.is_draining else "ok"
        if self._is_guarded and request[CALL].caller is None:
            return Reply(200, encode(HealthAnswer(status)))
        answer = HealthAnswer(
            status=status,
            version=self.version,
            backend=self._hub.backend_name,
            durability=self._hub.durability,
            agents=self._hub.registered_agents,
            uptime_seconds=round(self._hub.uptime, 3),
        )
        return Reply(200, encode(answer))

    async def livez(self, request: web.Request) -> Reply:
        """The process answers; nothing else is asked."""
        return Reply(200, encode(ReadyAnswer("ok")))

    async def readyz(self, request: web.Request) -> Reply:
        """Whether a send would be accepted now."""
        checks = [await self._check_backend(), self._check_draining()]
        ready = all(check.status == "ok" for check in checks)
        answer = ReadyAnswer("ok" if ready else "unavailable")
        if query(request, ReadyQuery).verbose is not None:
            answer.checks = checks
        return Reply(200 if ready else 503, encode(answer))

    async def _check_backend(self) -> Check:
        try:
            await self._hub.ping()
        except BackendUnavailable as away:
            return Check("backend", away.code)
        return Check("backend", "ok")

    def _check_draining(self) -> Check:
        return Check("draining", Draining.code if self._hub.is_draining else "ok")

    async def metrics(self, request: web.Request) -> Reply:
        """Prometheus text, or OpenMetrics when asked for."""
        caller = request[CALL].caller
        if caller is not None:
            caller.must_have(Scope.ADMIN)
        text, content_type = await self._scrape(request.headers.get("Accept", ""))
        return Reply(200, text, content_type)

    async def page(self, request: web.Request) -> Reply:
        """The hub's own page: from its console a browser may call the hub."""
        reply = Reply(200, self._page, "text/html; charset=utf-8")
        reply.add("Content-Security-Policy", PAGE_POLICY)
        reply.add("X-Content-Type-Options", "nosniff")
        return reply
