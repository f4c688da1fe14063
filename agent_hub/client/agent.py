"""An agent's side of the hub."""

from __future__ import annotations

import logging
import math
import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from inspect import isawaitable
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import quote

import msgspec

from agent_hub.client.answers import (
    Accepted,
    Agent,
    Agents,
    Answer,
    Asked,
    Batch,
    Message,
    Page,
    Registration,
    Standing,
    Standings,
    decode,
)
from agent_hub.client.connection import Connection
from agent_hub.client.credential import Credential, Token
from agent_hub.client.delivery import Delivery, Lease
from agent_hub.client.errors import HubError
from agent_hub.client.handed import Handed, Position
from agent_hub.client.identity import agent_id_of
from agent_hub.client.pace import Backoff, Pace, retrying
from agent_hub.client.rest import Response, Rest
from agent_hub.client.subscription import Subscription

logger = logging.getLogger("agent_hub.client")

MAX_WAIT_SECONDS = 300

Handler = Callable[[Message], Awaitable[object]]
Content = str | Mapping[str, Any]
Status = Literal["active", "idle", "busy"]


class AgentClient:
    """One agent, talking through one hub; of one event loop.

        async with AgentClient(session_id="01TYEi4M…", name="Beta") as agent:
            await agent.register()
            await agent.send_message("alpha", "Hello")
            await agent.listen(handler)

    `agent_id` is `<slug of name>-<first 8 of session_id>` unless given. `token` is the credential
    for a hub that asks for one; it has to cover this id. For one that ends before the client does
    it is a function, async or not, that gives the token of the moment: called for each request and
    each connection, and once more when the hub refuses what it gave. `since` is a cursor of an
    earlier life (its `cursor`) to read on from; without one, what the hub still owes comes
    anyway. At most `max_in_flight` messages are read ahead of the handler.

    Calls are tried again while the hub is away or busy, as `pace` allows; sends carry an
    idempotency key, so that none of them arrives twice. What fails for good raises HubError with
    the hub's problem code, or its subclass HubUnreachable; with `no_token` when the function for
    the token does. After `close` every call raises RuntimeError.
    """

    def __init__(
        self,
        server_url: str = "http://localhost:8080",
        *,
        session_id: str | None = None,
        name: str | None = None,
        agent_id: str | None = None,
        token: Token | None = None,
        capabilities: Iterable[str] = (),
        metadata: Mapping[str, Any] | None = None,
        since: str | None = None,
        max_in_flight: int = 64,
        pace: Pace | None = None,
    ) -> None:
        if isinstance(capabilities, str):  # each of its letters would be one
            raise TypeError("capabilities is a list of strings, not a string")
        self.agent_id = agent_id_of(agent_id, name, session_id)
        self._profile = {
            "agent_id": self.agent_id,
            "session_id": session_id,
            "name": name,
            "capabilities": list(capabilities),
            "metadata": dict(metadata or {}),
        }
        self._pace = pace or Pace()
        self._credential = Credential(token)
        self._rest = Rest(server_url, self._pace, self._credential)
        self._position = Position(since)
        self._handed = Handed()
        self._max_in_flight = max_in_flight
        self._subscription: Subscription | None = None
        self._registered = False
        self._was_connected = False

    @property
    def cursor(self) -> str | None:
        """The place of the newest message handed out by `deliveries` or `listen`."""
        return self._position.cursor

    # --- who is here ------------------------------------------------------------------------

    async def register(self) -> Registration:
        """Tell the hub who this is; again after every reconnect, by itself."""
        response = await self._rest.call("POST", "/agents/register", body=self._profile)
        self._registered = True
        return decode(response.body, Registration)

    async def deregister(self) -> None:
        """End the listening and the registration; one that is gone already is fine."""
        self._registered = False
        await self._end_subscription()
        try:
            await self._rest.call("DELETE", f"/agents/{self.agent_id}")
        except HubError as error:
            if error.code != "not_found":
                raise

    async def heartbeat(self, status: Status | None = None) -> Agent:
        """Give a sign of life, with a new status if given. While listening it needs no call."""
        path = f"/agents/{self.agent_id}/heartbeat"
        response = await self._rest.call("POST", path, body={"status": status})
        return decode(response.body, Agent)

    async def agents(
        self, *, status: str | None = None, capability: str | None = None
    ) -> list[Agent]:
        """The registered agents, this one among them."""
        query = {"status": status, "capability": capability}
        response = await self._rest.call("GET", "/agents", query=query)
        return list(decode(response.body, Agents).agents)

    # --- sending ----------------------------------------------------------------------------

    async def send_message(
        self,
        to: str,
        message: Content,
        *,
        type: str | None = None,  # noqa: A002 (the message's own word for it)
        reply_to: str | None = None,
        ttl: float | None = None,
        idempotency_key: str | None = None,
    ) -> Accepted:
        """Send to an agent, or to `ALL` others; returns when the hub owes the message.

        A string arrives as `text`, an object as `payload`. `ttl` in seconds. The same
        `idempotency_key` sends the same message at most once within 10 minutes.
        """
        draft = self._draft(to, message, type, reply_to, ttl)
        response = await self._rest.call(
            "POST", "/messages", body=draft, headers=_idempotent(idempotency_key)
        )
        replayed = response.headers.get("Idempotency-Replayed") == "true"
        return msgspec.structs.replace(decode(response.body, Accepted), replayed=replayed)

    async def ask(
        self,
        to: str,
        message: Content,
        timeout: float = 60,
        *,
        type: str | None = None,  # noqa: A002 (as in send_message)
        reply_to: str | None = None,
        ttl: float | None = None,
        idempotency_key: str | None = None,
    ) -> Answer:
        """Send a question and wait for its reply, up to `timeout` (1 to 300) whole seconds.

            answer = await agent.ask("alpha", "ready?", timeout=30)
            if answer:
                print(answer.text)

        No reply in time is an answer too, a false one: see Answer. A reply that comes later is
        an ordinary message. Other messages stay in the inbox meanwhile. When the connection is
        lost the wait is taken up again as soon as there is a hub, as long as its time lasts.
        """
        if not 1 <= timeout <= MAX_WAIT_SECONDS:
            raise ValueError(f"timeout must be 1 to {MAX_WAIT_SECONDS} seconds, not {timeout}")
        draft = self._draft(to, message, type, reply_to, ttl)
        response = await self._ask(draft, timeout, _idempotent(idempotency_key))
        asked = decode(response.body, Asked)
        if asked.reply is not None:
            # It is settled with this answer: a stream that resumes must not hand it out again.
            self._handed.settle(asked.reply.id)
        return Answer.of(asked)

    async def _ask(
        self, draft: dict[str, Any], seconds: float, headers: dict[str, str]
    ) -> Response:
        deadline = self._pace.now() + seconds

        async def attempt() -> Response:
            # The same key attaches a retry to the open question; it waits only what is left.
            wait = max(1, math.ceil(deadline - self._pace.now()))
            body = {**draft, "wait": wait}
            return await self._rest.once("POST", "/messages", body=body, headers=headers, wait=wait)

        return await retrying(partial(self._rest.renewing, attempt), self._pace, deadline)

    async def standing(self, message_id: str) -> list[Standing]:
        """Where a message stands with each recipient, if this agent sent or got it."""
        path = f"/messages/{quote(message_id, safe='')}"
        response = await self._rest.call("GET", path, query={"agent_id": self.agent_id})
        return list(decode(response.body, Standings).recipients)

    # --- receiving --------------------------------------------------------------------------

    async def messages(self, *, since: str | None = None, limit: int = 50, wait: int = 0) -> Page:
        """Look at what waits, oldest first, and take nothing.

        With `since` also at kept messages newer than that cursor. `wait` up to 50 seconds for
        something to come.
        """
        query = {"agent_id": self.agent_id, "since": since, "limit": limit, "wait": wait}
        response = await self._rest.call("GET", "/messages", query=query, wait=wait)
        return decode(response.body, Page)

    async def receive(self, *, limit: int = 50, wait: int = 0, lease: int = 30) -> list[Delivery]:
        """Take up to `limit` messages without a stream; each is to be acked or released.

        What is neither within `lease` seconds comes again, as if it had been released.
        """
        body = {"agent_id": self.agent_id, "limit": limit, "wait": wait, "lease": lease}
        body["ack"] = "manual"
        response = await self._rest.call("POST", "/messages/receive", body=body, wait=wait)
        batch = decode(response.body, Batch)
        source = Lease(self._rest, self.agent_id, batch.lease_id, self._handed)
        return [Delivery(message, source) for message in batch.messages]

    def deliveries(self) -> Subscription:
        """The stream of messages to this agent, each to be acked or released.

            async for delivery in agent.deliveries():
                ...
                await delivery.ack()

        It reconnects by itself, drops duplicates, and raises Disconnected when the hub ends it
        for good (another session took over). A client has one stream: after a `break` this call
        goes on with it, until it is closed.
        """
        self._rest.check_open()
        if self._subscription is None or self._subscription.ended:
            self._subscription = Subscription(
                self._connect,
                position=self._position,
                handed=self._handed,
                max_in_flight=self._max_in_flight,
                pace=self._pace,
                renews=self._credential.renews,
            )
        return self._subscription

    async def listen(self, handler: Handler) -> None:
        """Call `await handler(message)` for each message, one at a time, until closed.

        A message is acked when its handler has returned. If the handler raises, the error is
        logged, the message is given back after a pause that grows with each failure, and the
        listening goes on; the hub gives a message up after more than 5 such failures. A handler
        that closes the client is not acked any more. While there is no hub this waits for one,
        and logs a warning.
        """
        backoff = Backoff(self._pace)
        async with self.deliveries() as deliveries:
            async for delivery in deliveries:
                await self._handle(delivery, handler, backoff)

    async def _handle(self, delivery: Delivery, handler: Handler, backoff: Backoff) -> None:
        try:
            handling: object = handler(delivery.message)
            if isawaitable(handling):
                await handling
        except Exception:
            logger.exception("the handler failed; message %s goes back", delivery.message.id)
            # Without a pause, a trouble of one second would use up all of a message's failures.
            await self._pace.sleep(backoff.next())
            await delivery.release()
        else:
            # As a failure it would handle the message again and again, until that is dead.
            if not isawaitable(handling):
                raise TypeError("the handler must be an async function")
            backoff.reset()
            await delivery.ack()

    async def _connect(self, since: str | None) -> Connection:
        return await self._rest.renewing(partial(self._connect_once, since))

    async def _connect_once(self, since: str | None) -> Connection:
        # A hub that came back without its memory has forgotten who this was.
        if self._registered and self._was_connected:
            await self._rest.once("POST", "/agents/register", body=self._profile)
        query = {"ack": "manual", "max_in_flight": self._max_in_flight, "events": "none"}
        query["since"] = since
        socket = await self._rest.connect(f"/ws/{self.agent_id}", query)
        self._was_connected = True
        return Connection(socket, self._pace)

    # --- the end ----------------------------------------------------------------------------

    async def close(self) -> None:
        """End the stream and the connections; the registration stays."""
        try:
            await self._end_subscription()
        finally:
            await self._rest.close()

    async def __aenter__(self) -> Self:
        self._rest.check_open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def _end_subscription(self) -> None:
        if self._subscription is not None:
            await self._subscription.close()

    def _draft(
        self, to: str, message: Content, type_: str | None, reply_to: str | None, ttl: float | None
    ) -> dict[str, Any]:
        return {
            "from": self.agent_id,
            "to": to,
            "message": _content(message),
            "type": type_,
            "reply_to": reply_to,
            "ttl": ttl,
        }


def _content(message: object) -> str | dict[str, Any]:
    if isinstance(message, str):
        return message
    if isinstance(message, Mapping):
        return dict(message)
    raise TypeError(f"a message is a string or a mapping, not {type(message).__name__}")


def _idempotent(key: str | None) -> dict[str, str]:
    return {"Idempotency-Key": key or secrets.token_urlsafe(16)}
