"""The composition root: the one place that knows every part."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from urllib.parse import urlsplit

from aiohttp import web

from agent_hub import __version__
from agent_hub.audit import AuditLog
from agent_hub.auth.oauth.documents import Documents
from agent_hub.auth.oauth.server import AuthorizationServer
from agent_hub.auth.store import CredentialStore
from agent_hub.clock import SystemClock
from agent_hub.config import Settings
from agent_hub.core.clock import Clock
from agent_hub.core.hub import Hub
from agent_hub.core.limits import Limits
from agent_hub.core.queue_backend import QueueBackend
from agent_hub.core.rate_limit import Buckets, TokenBuckets
from agent_hub.credentials import (
    audit_log,
    authorization_server,
    credential_store,
    proofs,
    redis_url,
)
from agent_hub.prometheus import PrometheusMetrics, Share
from agent_hub.queue_backends.measured import measured
from agent_hub.queue_backends.memory import MemoryBackend
from agent_hub.queue_backends.redis.backend import RedisBackend
from agent_hub.queue_backends.sqlite import SqliteBackend
from agent_hub.web.attendance import Attendance
from agent_hub.web.bodies import MAX_BODY_BYTES, Bodies
from agent_hub.web.callers import Callers
from agent_hub.web.gate import Access, Gate, Handler
from agent_hub.web.keys import CALL
from agent_hub.web.ops import Operations
from agent_hub.web.origins import LOCAL_HOSTS, Origins
from agent_hub.web.proxies import Proxies
from agent_hub.web.rest import Rest
from agent_hub.web.roster import Roster
from agent_hub.web.routes import add_routes, api_routes, operation_routes
from agent_hub.web.websocket import WebSockets
from mcp_bridge.asgi import Adapter, Application
from mcp_bridge.mounting import PATHS, Mounting
from mcp_bridge.server import make_server, may_wait
from mcp_bridge.updates import Updates

HUB = web.AppKey("hub", Hub)
GATE = web.AppKey("gate", Gate)
ON_RELOAD = web.AppKey("on_reload", list[Callable[[], None]])
"""What is to be read again at SIGHUP: a part that reads files adds its own."""


def create_app(
    settings: Settings,
    *,
    clock: Clock | None = None,
    backend: QueueBackend | None = None,
    share: Share | None = None,
    credentials: CredentialStore | None = None,
    documents: Documents | None = None,
) -> web.Application:
    """The whole hub as one aiohttp application. A test hands in its own clock and stores.

    `share` is for one of several processes behind one port, whose metrics are told as one.
    """
    clock = clock or SystemClock()
    metrics = PrometheusMetrics(version=__version__, share=share)
    backend = backend or _backend(settings, clock, metrics, share)
    metrics.backend = backend.name
    if settings.auth:
        credentials = credentials or credential_store(settings, clock)
    audit = audit_log(settings, clock, "" if share is None else f"-{share.place}")
    signing_in = authentication = None
    if credentials is not None:
        owner_of = _owner_of(backend)
        signing_in = authorization_server(settings, credentials, clock, owner_of, documents, audit)
        authentication = proofs(settings, credentials, clock, signing_in, audit)
    hub = Hub(
        backend,
        clock,
        metrics=metrics,
        buckets=_buckets(settings, clock, backend),
        default_ttl=settings.message_ttl,
        authentication=authentication,
        audit=audit,
    )
    callers = Callers(authentication, _proxies(settings))
    origins = Origins(
        callers.scheme,
        hosts=_hosts(settings),
        allowed=settings.cors_origin,
        own=settings.public_url or None,
    )
    metadata_url = _metadata_url(signing_in, callers)
    gate = Gate(hub, metrics, callers, origins, metadata_url=metadata_url)
    bodies = Bodies(clock)
    rest = Rest(hub, gate, bodies, Attendance(clock))
    operations = Operations(
        hub,
        lambda accept: metrics.scrape(hub, accept),
        __version__,
        is_guarded=callers.are_asked,
    )
    roster = Roster(clock, metrics)
    hub.on_presence = roster.announce
    app = web.Application()
    app[HUB] = hub
    app[GATE] = gate
    app[ON_RELOAD] = [] if authentication is None else [authentication.read_again]
    routes = api_routes(rest) + operation_routes(operations, open_metrics=settings.metrics_open)
    sockets = WebSockets(hub, clock, gate, callers, roster)
    add_routes(app, gate, routes, operations, sockets)
    app.cleanup_ctx.append(_lifetime(hub, roster, metrics, credentials, signing_in, audit))
    app.on_shutdown.append(_drain)
    _mount_mcp(app, hub, clock, gate, callers, bodies)
    if signing_in is not None:
        _mount_oauth(app, signing_in, clock, gate, callers, bodies)
    return app


def _backend(
    settings: Settings, clock: Clock, metrics: PrometheusMetrics, share: Share | None
) -> QueueBackend:
    limits = Limits(drop_oldest=settings.overflow == "drop-oldest")
    if settings.sqlite_path is not None:
        path, committed = settings.sqlite_path, metrics.committed
        return measured(SqliteBackend(path, clock, limits, committed=committed), metrics)
    url = redis_url(settings)
    if url is not None:
        group = None if share is None else share.group
        return measured(RedisBackend(url, limits, group=group), metrics)
    return MemoryBackend(clock, limits)


def _owner_of(backend: QueueBackend) -> Callable[[str], Awaitable[str | None]]:
    """Whose an agent is that is registered."""

    async def owner_of(agent_id: str) -> str | None:
        known = await backend.agent(agent_id)
        return None if known is None else known.owner

    return owner_of


def _buckets(settings: Settings, clock: Clock, backend: QueueBackend) -> Buckets:
    make = backend.buckets if settings.rate_limit_scope == "shared" else TokenBuckets
    return make(settings.rate_limit, settings.rate_burst, clock)


def _proxies(settings: Settings) -> Proxies | None:
    if not settings.trusted_proxy:
        return None
    return Proxies(settings.trusted_proxy, settings.forwarded_header)


def _hosts(settings: Settings) -> Collection[str] | None:
    """The names that a hub for this machine alone answers to; a proxy has others."""
    if not settings.is_loopback or settings.trusted_proxy:
        return None
    return LOCAL_HOSTS | ({urlsplit(settings.public_url).hostname or ""} - {""})


def _metadata_url(
    signing_in: AuthorizationServer | None, callers: Callers
) -> Callable[[web.Request], str | None]:
    """Where a client of the MCP door reads how to sign in."""

    def url(request: web.Request) -> str | None:
        if signing_in is None or request.path not in PATHS:
            return None
        return signing_in.resource_metadata(callers.scheme(request), request.host)

    return url


def _lifetime(
    hub: Hub,
    roster: Roster,
    metrics: PrometheusMetrics,
    credentials: CredentialStore | None,
    signing_in: AuthorizationServer | None,
    audit: AuditLog | None,
) -> Callable[[web.Application], AsyncIterator[None]]:
    async def context(app: web.Application) -> AsyncIterator[None]:
        if credentials is not None:
            await credentials.open()
        if signing_in is not None:
            await signing_in.open()
        await hub.start()
        yield
        roster.close()
        await hub.stop()
        metrics.write()
        if credentials is not None:
            await credentials.close()
        if audit is not None:
            await asyncio.to_thread(audit.close)

    return context


async def _drain(app: web.Application) -> None:
    """Open streams and waits end by themselves; aiohttp would wait for them to its timeout."""
    await app[HUB].drain()


def _mount_mcp(
    app: web.Application, hub: Hub, clock: Clock, gate: Gate, callers: Callers, bodies: Bodies
) -> None:
    updates = Updates(hub, clock)
    mounting = Mounting(
        make_server(hub, clock, updates, __version__),
        clock,
        may_wait=may_wait,
        max_body_bytes=MAX_BODY_BYTES,
        read_body=bodies.read,
        request_id=lambda request: request[CALL].request_id,
        caller=lambda request: gate.caller(request, "mcp"),
        scheme=callers.scheme,
        on_head=gate.finish,
    )
    for path in PATHS:
        gate.add(app.router, "POST", path, mounting.post, via="mcp")
    app.cleanup_ctx.append(mounting.lifetime)
    app.on_shutdown.append(updates.close)


def _mount_oauth(
    app: web.Application,
    server: AuthorizationServer,
    clock: Clock,
    gate: Gate,
    callers: Callers,
    bodies: Bodies,
) -> None:
    """What signs people in: open to everybody, because nobody has a credential yet."""
    adapter = Adapter(clock, gate.finish)

    def handler(run: Application) -> Handler:
        async def serve(request: web.Request) -> web.StreamResponse:
            body = await bodies.read(request)
            peer, scheme = (callers.peer(request), 0), callers.scheme(request)
            return await adapter.serve(request, body, run, client=peer, scheme=scheme)

        return serve

    for endpoint in server.endpoints():
        gate.add(
            app.router,
            endpoint.method,
            endpoint.path,
            handler(server.application(endpoint)),
            access=Access.OPEN,
            takes_form=endpoint.takes_form,
            is_page=endpoint.is_page,
        )

    async def finish(app: web.Application) -> None:
        await adapter.finish()

    app.on_cleanup.append(finish)
