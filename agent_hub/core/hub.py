"""The hub: one method for each call of a door, put together from the rooms that hold the rules."""

from __future__ import annotations

from collections.abc import Callable

from agent_hub.core.admission import Admission
from agent_hub.core.asking import Asking
from agent_hub.core.audit import (
    Audit,
    of_agent,
    of_draft,
    of_inboxes,
    of_listing,
    of_registration,
    of_settling,
    of_standing,
)
from agent_hub.core.authentication import Authentication
from agent_hub.core.bounds import DEFAULT_TTL_SECONDS
from agent_hub.core.clock import Clock
from agent_hub.core.mail import Totals
from agent_hub.core.metrics import Metrics
from agent_hub.core.overview import Overview
from agent_hub.core.owed import Owed
from agent_hub.core.permissions import Permissions
from agent_hub.core.presence import Presence, PresenceEvent
from agent_hub.core.queue_backend import QueueBackend
from agent_hub.core.rate_limit import Buckets, TokenBuckets
from agent_hub.core.reading import Reading
from agent_hub.core.registry import Registry
from agent_hub.core.sending import Sending
from agent_hub.core.streams import Streams
from agent_hub.core.tally import Tally
from agent_hub.core.upkeep import Upkeep
from agent_hub.core.vigil import Vigil


class Hub:
    """Agents register, find each other, send, broadcast, ask, wait and read.

    Every call takes the caller first and raises a HubError for what it refuses; a refusal
    changed nothing. The calls are the rooms' own methods, described there: Registry, Sending,
    Reading, Overview. `default_ttl` is in seconds. `authentication` is asked whether the
    credentials of what is open still hold; `audit` keeps who did what.
    """

    def __init__(
        self,
        backend: QueueBackend,
        clock: Clock,
        *,
        metrics: Metrics | None = None,
        buckets: Buckets | None = None,
        default_ttl: float = DEFAULT_TTL_SECONDS,
        authentication: Authentication | None = None,
        audit: Audit | None = None,
    ) -> None:
        metrics = Metrics() if metrics is None else metrics
        audit = Audit() if audit is None else audit
        buckets = TokenBuckets(0, 1, clock) if buckets is None else buckets
        self._backend = backend
        self._clock = clock
        self._started_at = clock.monotonic()
        self.on_presence: Callable[[list[PresenceEvent]], None] = lambda events: None

        by_store = backend.clock_of(clock)
        self._by_store = by_store
        tally = Tally(by_store, metrics, audit)
        self._admission = Admission(clock, metrics, buckets, backend.poll_seconds)
        self._presence = Presence(by_store, self._announce)
        self._owed = Owed()
        self._permissions = Permissions(backend, self._presence)
        self._vigil = Vigil(clock, authentication)
        self._streams = Streams(backend, by_store, metrics, tally, self._owed, self._vigil)
        self._asking = Asking(
            backend, metrics, tally, self._owed, self._admission.alarm, self._vigil
        )
        self._upkeep = Upkeep(
            backend, clock, metrics, self._owed, self._presence, buckets, self._streams
        )

        registry = Registry(
            backend, by_store, self._admission, self._permissions, self._presence, self._streams
        )
        self.register = audit.of("register", registry.register, of_registration)
        self.deregister = audit.of("deregister", registry.deregister, of_agent)
        self.heartbeat = registry.heartbeat
        self.agent = registry.agent
        self.agents = audit.of("list", registry.agents, of_listing)
        self.census = registry.census

        sending = Sending(
            backend,
            by_store,
            metrics,
            self._admission,
            self._permissions,
            self._presence,
            registry,
            self._asking,
            default_ttl,
        )
        self.send = audit.of("send", sending.send, of_draft)
        self.ask = audit.of("ask", sending.ask, of_draft)

        reading = Reading(
            backend,
            metrics,
            tally,
            self._admission,
            self._permissions,
            self._vigil,
            registry,
            self._owed,
            self._streams,
        )
        self.look = audit.of("look", reading.look, of_agent)
        self.position = reading.position
        self.unread = reading.unread
        self.watch = audit.of("listen", reading.watch, of_agent)
        self.receive = audit.of("receive", reading.receive, of_agent)
        self.settle = audit.of("settle", reading.settle, of_settling)
        self.standings = audit.of("standings", reading.standings, of_standing)
        self.subscribe = audit.of("subscribe", reading.subscribe, of_agent)

        overview = Overview(backend, by_store, self._admission, self._presence)
        self.inboxes = audit.of("inboxes", overview.inboxes, of_inboxes)

        self.quota = self._admission.quota

    def _announce(self, events: list[PresenceEvent]) -> None:
        self.on_presence(events)

    # --- life -----------------------------------------------------------------------------

    async def start(self) -> None:
        """Open the store and begin the upkeep."""
        await self._backend.open()
        self._presence.sweep(await self._backend.agents())
        self._upkeep.start()

    async def drain(self) -> None:
        """Refuse what is new, and let every wait and every stream end as if its time were up."""
        self._admission.drain()
        self._streams.end()

    async def stop(self) -> None:
        """Give back all leases, end the upkeep, close the store."""
        await self.drain()
        await self._streams.close()
        await self._upkeep.stop()
        self._vigil.close()
        self._presence.close()
        await self._backend.close()

    # --- how it is ------------------------------------------------------------------------

    @property
    def is_draining(self) -> bool:
        return self._admission.is_draining

    @property
    def durability(self) -> str:
        return self._backend.durability

    @property
    def backend_name(self) -> str:
        return self._backend.name

    @property
    def uptime(self) -> float:
        """Seconds since this hub was made."""
        return self._clock.monotonic() - self._started_at

    @property
    def registered_agents(self) -> int:
        return len(self._presence)

    @property
    def open_subscriptions(self) -> int:
        return len(self._streams)

    @property
    def open_waits(self) -> int:
        return len(self._asking)

    def time(self) -> float:
        """Now (wall time) by the clock of the store, as are the times in what the calls answer."""
        return self._by_store.time()

    async def totals(self) -> Totals:
        """Count every message there was."""
        return await self._backend.totals()

    async def tells_totals(self) -> bool:
        """Whether this process shows the totals of a store that others may share."""
        return await self._backend.tells_totals()

    async def ping(self) -> None:
        """Raise BackendUnavailable unless the store can accept now."""
        await self._backend.ping()
