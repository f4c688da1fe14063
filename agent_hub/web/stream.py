"""One open WebSocket: a pump that writes what is owed, and a loop that reads frames."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Iterable

from aiohttp import WebSocketError, WSMessage, WSMsgType, web
from msgspec import UNSET, Raw, UnsetType

from agent_hub.core.asking import Question
from agent_hub.core.clock import Clock
from agent_hub.core.deadline import within
from agent_hub.core.errors import (
    HubError,
    Internal,
    Invalid,
    MalformedJson,
    RateLimited,
    Unauthenticated,
)
from agent_hub.core.hub import Hub
from agent_hub.core.message import Delivery, Draft
from agent_hub.core.principal import Principal
from agent_hub.core.subscription import Subscription
from agent_hub.web.close_codes import CloseCode
from agent_hub.web.keys import CALL
from agent_hub.web.limits import quota_headers, retry_header
from agent_hub.wire import frames, messages, strict_json
from agent_hub.wire.frames import ClientFrame
from agent_hub.wire.problems import problem

log = logging.getLogger(__name__)

WRITE_SECONDS = 10.0
MAX_ERRORS_IN_A_ROW = 20
MAX_RECONNECT_MS = 5_000
ENDINGS = (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR)
RECEIPT = b"r"
HEARTBEAT = b"h"


class Stream:
    """One open socket: a pump that writes deliveries, and a loop that reads frames."""

    __slots__ = (
        "_caller",
        "_clock",
        "_errors_in_a_row",
        "_heard_at",
        "_heartbeat_unanswered",
        "_hub",
        "_questions",
        "_request",
        "_response",
        "_subscription",
        "close_code",
    )

    def __init__(
        self,
        hub: Hub,
        clock: Clock,
        caller: Principal,
        request: web.Request,
        response: web.WebSocketResponse,
        subscription: Subscription,
    ) -> None:
        self.close_code: int = CloseCode.CUT
        self._hub = hub
        self._clock = clock
        self._caller = caller
        self._request = request
        self._response = response
        self._subscription = subscription
        self._errors_in_a_row = 0
        # Those that only this socket holds; what waits for each answer, once it does.
        self._questions: dict[Question, asyncio.Task[None] | None] = {}
        self._heard_at = clock.monotonic()
        self._heartbeat_unanswered = False

    @property
    def agent_id(self) -> str:
        return self._subscription.agent_id

    async def serve(self) -> None:
        """Until either side ends it."""
        await self._write(frames.encode(frames.welcome(self._subscription, self._hub.durability)))
        pump = asyncio.ensure_future(self._pump())
        try:
            while (received := await self._response.receive()).type not in ENDINGS:
                await self._hear(received)
            self._learn_why(received)
        finally:
            tasks = [pump, *(task for task in self._questions.values() if task is not None)]
            for task in tasks:
                task.cancel()
            await asyncio.shield(self._end(tasks))

    async def _end(self, tasks: Iterable[asyncio.Task[None]]) -> None:
        """Wait for the tasks, then let go of the questions: one may not even have begun."""
        await asyncio.gather(*tasks, return_exceptions=True)
        for question in list(self._questions):
            await question.close()

    # --- to the client --------------------------------------------------------------------

    async def _pump(self) -> None:
        """Write what is owed as it comes; at the end of the subscription, close."""
        try:
            while deliveries := await self._subscription.batch():
                await self._deliver(deliveries)
            await self._say_goodbye()
        except Exception as error:  # noqa: BLE001 (a failure is logged)
            await self._close_for(error)

    async def _deliver(self, deliveries: list[Delivery]) -> None:
        async with within(self._clock, WRITE_SECONDS):
            for delivery in deliveries:
                frame = messages.encode_delivery(delivery)
                await self._response.send_frame(frame, WSMsgType.TEXT)
            self._subscription.written(deliveries)
            await self._ask_for_receipt()

    async def _ask_for_receipt(self) -> None:
        """A ping after the frames: TCP is ordered, so that its pong proves they were read."""
        number = self._subscription.cover()
        if number is not None:
            await self._response.send_frame(b"%s%d" % (RECEIPT, number), WSMsgType.PING)

    async def _write(self, frame: bytes) -> None:
        """One frame; raises TimeoutError when the socket does not take it."""
        async with within(self._clock, WRITE_SECONDS):
            await self._response.send_frame(frame, WSMsgType.TEXT)

    async def announce(self, frame: bytes) -> None:
        """A frame that may be left out: a socket that is behind does not get it."""
        transport = self._request.transport
        if transport is not None and not transport.get_write_buffer_size():
            with contextlib.suppress(ConnectionError):  # the reader will find out
                await self._response.send_frame(frame, WSMsgType.TEXT)

    async def _say_goodbye(self) -> None:
        if self._subscription.has_lost_credential:
            await self.close(CloseCode.BAD_CREDENTIAL, "the credential expired or was revoked")
            return
        if self._subscription.dismissed:
            await self.close(CloseCode.REPLACED, "the agent is registered no more")
            return
        if self._subscription.replaced:
            await self.close(CloseCode.REPLACED, "another connection of this agent took over")
            return
        if self._subscription.epoch_changed:
            await self.close(CloseCode.EPOCH_CHANGED, "the store began this inbox anew")
            return
        wait = random.randint(0, MAX_RECONNECT_MS)  # nosec B311
        await self._write(frames.shutdown_notice(wait))
        await self.close(CloseCode.GOING_AWAY, "the hub is shutting down")

    async def close(self, code: CloseCode, reason: str) -> None:
        """Close with a code; the reading loop then ends by itself."""
        self.close_code = code
        await self._response.close(code=code, message=reason.encode(), drain=False)

    async def _close_for(self, error: Exception) -> None:
        """Close: what cannot be told to the client would be waited for in vain."""
        if isinstance(error, TimeoutError):
            await self._close_slow()
        elif isinstance(error, ConnectionError):
            self._hang_up()
        elif isinstance(error, HubError):
            await self._fail(error.code)
        else:
            log.error("stream failed", exc_info=error, extra={"agent": self.agent_id})
            await self._fail(Internal.code)

    async def _fail(self, code: str) -> None:
        log.warning("stream closed: %s", code, extra={"agent": self.agent_id})
        await self.close(CloseCode.INTERNAL, code)

    async def _close_slow(self) -> None:
        """Behind all that is buffered stands the close frame; who reads on sees it."""
        self._clock.call_later(WRITE_SECONDS, self._hang_up)
        reason = f"the socket did not take a frame for {WRITE_SECONDS:g} s"
        await self.close(CloseCode.TOO_SLOW, reason)

    def _hang_up(self) -> None:
        transport = self._request.transport
        if transport is not None:
            transport.abort()

    # --- from the client ------------------------------------------------------------------

    async def _hear(self, received: WSMessage) -> None:
        """One frame of any kind; a connection that broke meanwhile ends the reading."""
        self._heard_at = self._clock.monotonic()
        self._heartbeat_unanswered = False
        try:
            await self._take(received)
        except (TimeoutError, ConnectionError) as error:
            await self._close_for(error)
        except HubError as error:  # the store is away: this receipt is lost, another comes
            log.warning("receipt failed: %s", error.detail, extra={"agent": self.agent_id})

    def _learn_why(self, received: WSMessage) -> None:
        """aiohttp's own close code is 1000 for whatever the hub closed with."""
        if self.close_code != CloseCode.CUT:
            return
        if received.type is WSMsgType.CLOSE:
            self.close_code = received.data or CloseCode.NORMAL
        elif isinstance(received.data, WebSocketError):
            self.close_code = received.data.code

    async def _take(self, received: WSMessage) -> None:
        if received.type is WSMsgType.TEXT:
            await self._take_text(received.data.encode())
        elif received.type is WSMsgType.PONG:
            await self._take_pong(bytes(received.data))
        elif received.type is WSMsgType.PING:
            await self._response.pong(received.data)
        else:
            await self.close(CloseCode.BINARY, "frames are JSON text")

    async def _take_pong(self, data: bytes) -> None:
        number = data.removeprefix(RECEIPT)
        if data.startswith(RECEIPT) and number.isdigit():
            await self._subscription.confirm(int(number))
            await self._ask_for_receipt()

    async def _take_text(self, text: bytes) -> None:
        try:
            await self._obey(strict_json.decode(text, frames.decode_frame))
            self._errors_in_a_row = 0
        except HubError as error:
            await self._refuse(error, text)
        except (ConnectionError, TimeoutError):
            raise
        except Exception:
            log.exception("frame failed", extra={"agent": self.agent_id})
            await self._refuse(Internal(), text)

    async def _obey(self, frame: ClientFrame) -> None:
        if frame.type == "auth" and frame.to is UNSET:
            return  # shown already, or not asked for
        if frame.type == "heartbeat":
            await self._hub.heartbeat(self._caller, self.agent_id, frame.status)
        elif frame.type in ("hub.ack", "hub.release"):
            await self._settle(frame)
        else:
            await self._send(frame)

    async def _settle(self, frame: ClientFrame) -> None:
        if self._subscription.receipts:
            raise Invalid.at("/type", "this socket acks by itself; connect with ?ack=manual")
        if frame.type == "hub.ack":
            await self._subscription.ack(frame.ids)
        else:
            await self._subscription.release(frame.ids)

    async def _send(self, frame: ClientFrame) -> None:
        draft = frame.draft(self.agent_id)
        if frame.wait is not None:
            await self._ask(draft, frame.wait, frame.ref)
            return
        sent = await self._hub.send(self._caller, draft)
        answer = messages.answer_of(sent, draft.to, self._hub.durability)
        await self._write(frames.accepted(answer, frame.ref, replayed=sent.replayed))

    async def _ask(self, draft: Draft, seconds: float, ref: Raw | UnsetType) -> None:
        """Accepted at once; the answer comes later, while this socket goes on."""
        sent, question = await self._hub.ask(self._caller, draft, seconds)
        self._questions[question] = None
        answer = messages.sent_answer(sent, draft.to, self._hub.durability)
        await self._write(frames.accepted(answer, ref, replayed=sent.replayed))
        self._questions[question] = asyncio.ensure_future(self._reply(question, ref))

    async def _reply(self, question: Question, ref: Raw | UnsetType) -> None:
        """Write what became of a question; the answer is one more message to be acked."""
        try:
            wait = await question.answered()
            cursor = await self._hub.position(self._caller, self.agent_id, wait.delivery)
            await self._write(frames.reply(question.question_id, wait, cursor, ref))
            if wait.delivery is not None and not wait.settled:
                await self._subscription.adopt(wait.delivery, question)
            else:
                question.taken = True
                await asyncio.shield(question.close())
            self._questions.pop(question, None)
            await self._ask_for_receipt()
        except Unauthenticated:
            return  # the stream ends for the same reason
        except Exception as error:  # noqa: BLE001 (a failure is logged)
            await self._close_for(error)

    async def _refuse(self, error: HubError, text: bytes) -> None:
        """Say what was wrong; a client that gets nothing right is closed.

        What passes by itself, as a full inbox or a store that is away, is not the client's fault.
        """
        ref = UNSET if isinstance(error, MalformedJson) else frames.ref_of(text)
        told = problem(error, self._request[CALL].request_id)
        await self._write(frames.refusal(told, ref, self._headers(error)))
        limited = isinstance(error, RateLimited)
        self._errors_in_a_row += limited or not error.retryable
        if self._errors_in_a_row >= MAX_ERRORS_IN_A_ROW:
            code = CloseCode.RATE if limited else CloseCode.TOO_MANY_ERRORS
            await self.close(code, "too many refused frames in a row")

    def _headers(self, error: HubError) -> dict[str, str]:
        """Those that REST would have sent with this refusal."""
        headers = retry_header(error)
        quota = self._hub.quota(self.agent_id) if isinstance(error, RateLimited) else None
        return headers if quota is None else {**headers, **quota_headers(quota)}

    # --- signs of life --------------------------------------------------------------------

    async def beat(self, silent_for: float) -> None:
        """Ping; close when a ping went unanswered and nothing at all came for so long."""
        silence = self._clock.monotonic() - self._heard_at
        if self._heartbeat_unanswered and silence >= silent_for:
            await self.close(CloseCode.SILENT, f"nothing was heard for {silent_for:g} s")
            self._hang_up()
            return
        self._heartbeat_unanswered = True
        with contextlib.suppress(ConnectionError):  # the reader will find out
            await self._response.send_frame(HEARTBEAT, WSMsgType.PING)
            # One that the store was away for; with all credit used no delivery asks again.
            await self._ask_for_receipt()
