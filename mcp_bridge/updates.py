"""Tells the open `subscriptions/listen` streams when mail arrives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import anyio
from mcp.server.subscriptions import ListenHandler, ResourceUpdated, ServerEvent
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    SubscriptionsListenRequestParams,
    SubscriptionsListenResult,
)

from agent_hub.core.clock import Clock, Timer
from agent_hub.core.errors import HubError
from agent_hub.core.hub import Hub
from agent_hub.core.principal import Principal
from agent_hub.core.queue_backend import Watch
from mcp_bridge.call import Context, caller
from mcp_bridge.resources import inbox_of

PAUSE_SECONDS = 0.25
"""At most one update of an inbox in so long: it says that there is mail, not how much."""
MAX_STREAMS = 1_024
STREAMS_OF_ONE = MAX_STREAMS // 2
"""For one principal: the others find room, too."""

Listener = Callable[[ServerEvent], None]


class Updates:
    """Answers `subscriptions/listen`; itself the bus that its streams listen to."""

    def __init__(self, hub: Hub, clock: Clock) -> None:
        self._hub = hub
        self._clock = clock
        self._listeners: dict[object, Listener] = {}
        self._inboxes: dict[str, Inbox] = {}
        self._streams = ListenHandler(self, max_subscriptions=MAX_STREAMS)
        self._of_one = Counter[str]()

    async def listen(
        self, context: Context, params: SubscriptionsListenRequestParams
    ) -> SubscriptionsListenResult:
        """One stream, until its client closes it, its credential is lost, or the hub ends."""
        with (
            self._place(caller(context)),
            ExitStack() as watching,
            anyio.CancelScope() as credential,
        ):
            for uri in dict.fromkeys(params.notifications.resource_subscriptions or ()):
                if inbox_of(uri) is not None:
                    watch = await self._watch(context, uri, credential.cancel)
                    watching.callback(self._leave, uri, watch)
            return await self._streams(context, params)
        raise MCPError(INVALID_PARAMS, "the credential has expired or was revoked")

    @contextmanager
    def _place(self, who: Principal) -> Iterator[None]:
        """One of the streams that a principal may have; where nobody is asked who calls, any."""
        if who.is_anyone:
            yield
            return
        if self._of_one[who.subject] >= STREAMS_OF_ONE:
            raise MCPError(INVALID_PARAMS, f"you have {STREAMS_OF_ONE} streams open; close some")
        self._of_one[who.subject] += 1
        try:
            yield
        finally:
            self._of_one[who.subject] -= 1
            if not self._of_one[who.subject]:
                del self._of_one[who.subject]

    async def close(self, app: object) -> None:
        """End every stream as the protocol ends them, when `app` shuts down."""
        self._streams.close()

    async def _watch(self, context: Context, uri: str, on_lost: Callable[[], None]) -> Watch:
        try:
            watch = await self._hub.watch(
                caller(context), inbox_of(uri) or "", lambda: self._wake(uri), on_lost=on_lost
            )
        except HubError as refusal:
            raise MCPError(INVALID_PARAMS, refusal.detail, data={"uri": uri}) from None
        inbox = self._inboxes.get(uri)
        if inbox is None:
            inbox = self._inboxes[uri] = Inbox(self._clock, lambda: self._tell(uri))
        inbox.watches.append(watch)
        return watch

    def _wake(self, uri: str) -> None:
        if uri in self._inboxes:
            self._inboxes[uri].wake()

    def _leave(self, uri: str, watch: Watch) -> None:
        inbox = self._inboxes[uri]
        inbox.watches.remove(watch)
        watch.close()
        if not inbox.watches:
            inbox.close()
            del self._inboxes[uri]

    def _tell(self, uri: str) -> None:
        for listener in list(self._listeners.values()):
            listener(ResourceUpdated(uri=uri))

    # --- the bus, as the SDK wants it -----------------------------------------------------

    async def publish(self, event: ServerEvent) -> None:
        for listener in list(self._listeners.values()):
            listener(event)

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        token = object()
        self._listeners[token] = listener

        def unsubscribe() -> None:
            self._listeners.pop(token, None)

        return unsubscribe


class Inbox:
    """One watched inbox: the first mail is told at once, then at most one update in a pause."""

    def __init__(self, clock: Clock, tell: Callable[[], None]) -> None:
        self.watches: list[Watch] = []
        self._clock = clock
        self._tell = tell
        self._timer: Timer | None = None
        self._again = False

    def wake(self) -> None:
        if self._timer is None:
            self._timer = self._clock.call_later(PAUSE_SECONDS, self._pause_is_over)
            self._tell()
        else:
            self._again = True

    def _pause_is_over(self) -> None:
        self._timer = None
        if self._again:
            self._again = False
            self.wake()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
