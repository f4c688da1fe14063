"""The client against a hub that misbehaves: cut connections, refusals, duplicates, silence."""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import WSCloseCode, WSMsgType, web
from aiohttp.test_utils import TestServer, unused_port

from agent_hub.client import (
    AgentClient,
    Delivery,
    Disconnected,
    HubError,
    HubUnreachable,
    Message,
    Pace,
)
from tests.patience import PATIENCE
from tests.scripted_hub import HEARTBEAT, Answer, ScriptedHub, cuts, refuses, says


class Clock:
    """Time that moves only when a test says so."""

    def __init__(self) -> None:
        self.time = 1000.0
        self._sleepers: list[tuple[float, int, float, asyncio.Future[None]]] = []
        self._count = 0
        self._slept = asyncio.Event()

    def now(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        woken = asyncio.get_running_loop().create_future()
        self._count += 1
        heapq.heappush(self._sleepers, (self.time + seconds, self._count, seconds, woken))
        self._slept.set()
        await woken

    async def skip(self, seconds: float) -> None:
        """Wait until somebody sleeps for exactly so long, then move time until it wakes."""
        async with asyncio.timeout(PATIENCE):
            while (until := self._end_of(seconds)) is None:
                self._slept.clear()
                await self._slept.wait()
        self.pass_(until - self.time)

    def pass_(self, seconds: float) -> None:
        self.time += seconds
        while self._sleepers and self._sleepers[0][0] <= self.time:
            woken = heapq.heappop(self._sleepers)[3]
            if not woken.done():
                woken.set_result(None)

    def _end_of(self, seconds: float) -> float | None:
        ends = [s[0] for s in self._sleepers if s[2] == seconds and not s[3].done()]
        return min(ends, default=None)


ACCEPTED = {"success": True, "message_id": "m_1", "seq": 1, "epoch": "e", "durability": "process"}
REGISTERED = {
    "success": True,
    "agent_id": "beta",
    "websocket_url": "/ws/beta",
    "peers": [],
    "heartbeat_seconds": HEARTBEAT,
}


def mail(seq: int, *, attempt: int = 1, epoch: str = "e", **fields: Any) -> dict[str, Any]:
    return {
        "id": f"m_{seq}",
        "seq": seq,
        "from": "alpha",
        "to": "beta",
        "type": "message",
        "text": f"text {seq}",
        "payload": {},
        "reply_to": None,
        "timestamp": "2026-11-20T08:00:00.000Z",
        "expires_at": "2026-11-20T08:05:00.000Z",
        "attempt": attempt,
        "cursor": f"{epoch}:{seq}",
        **fields,
    }


def ack(seq: int) -> dict[str, Any]:
    return {"type": "hub.ack", "ids": [f"m_{seq}"]}


def release(seq: int) -> dict[str, Any]:
    return {"type": "hub.release", "ids": [f"m_{seq}"]}


@pytest.fixture
async def clock() -> Clock:
    return Clock()


@pytest.fixture
async def hub() -> AsyncIterator[ScriptedHub]:
    hub = ScriptedHub()
    server = TestServer(hub.app)
    await server.start_server()
    hub.url = str(server.make_url("/"))
    yield hub
    hub.hang_up()
    await server.close()


@pytest.fixture
def pace(clock: Clock) -> Pace:
    return Pace(sleep=clock.sleep, now=clock.now, random=lambda: 0.5)


@pytest.fixture
async def beta(hub: ScriptedHub, pace: Pace) -> AsyncIterator[AgentClient]:
    async with AgentClient(hub.url, agent_id="beta", pace=pace) as client:
        yield client
        hub.hang_up()


async def soon(awaitable: Awaitable[Any]) -> Any:
    async with asyncio.timeout(PATIENCE):
        return await awaitable


async def take(client: AgentClient) -> Delivery:
    delivery: Delivery = await soon(anext(client.deliveries()))
    return delivery


class Thinker:
    """A handler that comes to no end."""

    def __init__(self) -> None:
        self.thinking = asyncio.Event()

    async def __call__(self, _: Message) -> None:
        self.thinking.set()
        await asyncio.Event().wait()


# --- calls ----------------------------------------------------------------------------------


async def test_a_send_that_lost_its_answer_is_sent_again_under_the_same_key(
    hub: ScriptedHub, beta: AgentClient, clock: Clock
) -> None:
    hub.script = [cuts, says(202, ACCEPTED, **{"Idempotency-Replayed": "true"})]
    sending = asyncio.create_task(beta.send_message("alpha", "Hello"))
    await clock.skip(0.25)
    accepted = await soon(sending)
    assert (accepted.message_id, accepted.replayed) == ("m_1", True)
    assert hub.calls[0] == hub.calls[1]
    assert hub.keys[0] is not None
    assert hub.keys[0] == hub.keys[1]


async def test_two_sends_never_share_a_key(hub: ScriptedHub, beta: AgentClient) -> None:
    hub.script = [says(202, ACCEPTED), says(202, ACCEPTED)]
    await beta.send_message("alpha", "Hello")
    await beta.send_message("alpha", "Hello")
    assert len(set(hub.keys)) == 2


async def test_a_busy_hub_is_asked_again_no_sooner_than_it_wishes(
    hub: ScriptedHub, beta: AgentClient, clock: Clock
) -> None:
    busy = refuses(503, "draining", retryable=True, **{"Retry-After": "7"})
    hub.script = [busy, says(202, ACCEPTED)]
    sending = asyncio.create_task(beta.send_message("alpha", "Hello"))
    await clock.skip(7)
    assert (await soon(sending)).message_id == "m_1"


async def test_a_pause_is_as_exact_as_the_hub_tells_it(
    hub: ScriptedHub, beta: AgentClient, clock: Clock
) -> None:
    problem = {"code": "rate_limited", "retryable": True, "retry_after": 0.375}
    hub.script = [says(429, problem, **{"Retry-After": "1"}), says(202, ACCEPTED)]
    sending = asyncio.create_task(beta.send_message("alpha", "Hello"))
    await clock.skip(0.375)
    await soon(sending)


async def test_a_full_inbox_is_reported_with_the_hubs_code_after_the_last_try(
    hub: ScriptedHub, beta: AgentClient, clock: Clock
) -> None:
    full = refuses(429, "inbox_full", retryable=True, **{"Retry-After": "1"})
    hub.script = [full] * 6
    sending = asyncio.create_task(beta.send_message("alpha", "Hello"))
    for pause in (1, 1, 1, 2, 4):
        await clock.skip(pause)
    with pytest.raises(HubError, match="inbox_full: because") as refusal:
        await soon(sending)
    assert (refusal.value.status, refusal.value.retry_after) == (429, 1)
    assert len(hub.calls) == 6


async def test_a_pause_longer_than_all_patience_is_reported_at_once(
    hub: ScriptedHub, beta: AgentClient
) -> None:
    hub.script = [refuses(429, "inbox_full", retryable=True, **{"Retry-After": "61"})]
    with pytest.raises(HubError, match="inbox_full"):
        await soon(beta.send_message("alpha", "Hello"))


async def test_a_refusal_for_good_is_not_tried_again(hub: ScriptedHub, beta: AgentClient) -> None:
    fault = {"pointer": "/ttl", "detail": "must be positive"}
    problem = {"code": "invalid", "detail": "bad ttl", "request_id": "r7", "errors": [fault]}
    hub.script = [says(422, problem)]
    with pytest.raises(HubError) as refusal:
        await soon(beta.send_message("alpha", "Hello", ttl=-1))
    assert refusal.value.code == "invalid"
    assert refusal.value.faults == (fault,)
    assert refusal.value.request_id == "r7"
    assert not refusal.value.retryable


async def test_a_proxy_that_answers_for_an_absent_hub_is_asked_again(
    hub: ScriptedHub, beta: AgentClient, clock: Clock
) -> None:
    hub.script = [says(502, "<html>"), says(202, ACCEPTED)]
    sending = asyncio.create_task(beta.send_message("alpha", "Hello"))
    await clock.skip(0.25)
    assert (await soon(sending)).message_id == "m_1"


def leads_to(url: str, status: int) -> Answer:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, headers={"Location": f"{url}{request.path[1:]}"})

    return answer


async def test_a_hub_that_has_moved_is_named_and_a_send_is_no_look_there(
    hub: ScriptedHub, beta: AgentClient
) -> None:
    there = hub.url.replace("127.0.0.1", "localhost")
    hub.script = [leads_to(there, 301), says(200, {"messages": []})]
    with pytest.raises(HubError, match=f"no hub is at {hub.url[:-1]}, which leads to {there}"):
        await soon(beta.send_message("alpha", "Hello"))


@pytest.mark.parametrize("status", [302, 307, 308])
async def test_a_hub_that_has_moved_is_named_where_its_token_would_not_be_shown(
    hub: ScriptedHub, pace: Pace, status: int
) -> None:
    there = hub.url.replace("127.0.0.1", "localhost")
    moved = f"no hub is at {hub.url[:-1]}, which leads to {there}"
    async with AgentClient(hub.url, agent_id="beta", token="t", pace=pace) as beta:
        hub.script = [leads_to(there, status), refuses(401, "unauthenticated")]
        with pytest.raises(HubError, match=moved):
            await soon(beta.register())
        hub.script = [leads_to(there, status), refuses(401, "unauthenticated")]
        with pytest.raises(HubError, match=moved):
            await soon(beta.agents())
        hub.upgrades = [leads_to(there, status)]
        with pytest.raises(HubError, match=moved):
            await take(beta)


async def test_a_hub_that_leads_in_a_circle_is_asked_once(
    hub: ScriptedHub, beta: AgentClient
) -> None:
    hub.script = [leads_to(hub.url, 307)] * 10
    with pytest.raises(HubError, match=f"no hub is at {hub.url}.*, which leads in a circle"):
        await soon(beta.ask("alpha", "ready?", timeout=300))


async def test_a_hub_that_answers_in_another_place_is_heard(
    hub: ScriptedHub, beta: AgentClient
) -> None:
    there = hub.url.replace("127.0.0.1", "localhost")
    hub.script = [leads_to(there, 308), says(202, ACCEPTED)]
    assert (await soon(beta.send_message("alpha", "Hello"))).message_id == "m_1"


async def test_an_answer_that_no_hub_would_give_is_an_error(
    hub: ScriptedHub, beta: AgentClient
) -> None:
    hub.script = [says(200, "a page of something else")]
    with pytest.raises(HubError, match="unexpected_answer"):
        await soon(beta.agents())


async def test_without_a_hub_a_call_says_so_after_its_last_try(clock: Clock, pace: Pace) -> None:
    url = f"http://127.0.0.1:{unused_port()}"
    async with AgentClient(url, agent_id="beta", pace=pace) as beta:
        registering = asyncio.create_task(beta.register())
        for pause in (0.25, 0.5, 1, 2, 4):
            await clock.skip(pause)
        with pytest.raises(HubUnreachable):
            await soon(registering)


async def test_a_number_that_json_cannot_say_is_refused_before_anything_is_sent(
    hub: ScriptedHub, beta: AgentClient
) -> None:
    with pytest.raises(ValueError, match="JSON"):
        await beta.send_message("alpha", {"score": float("nan")})
    assert hub.calls == []


@pytest.mark.parametrize("message", [None, 5, b"bytes", ["a", "list"], [("a", "pair")]])
async def test_what_is_no_message_is_refused_before_anything_is_sent(
    hub: ScriptedHub, beta: AgentClient, message: Any
) -> None:
    with pytest.raises(TypeError, match="a message is a string or a mapping, not"):
        await beta.send_message("alpha", message)


def test_one_string_is_not_taken_for_a_list_of_capabilities() -> None:
    with pytest.raises(TypeError, match="capabilities"):
        AgentClient(agent_id="beta", capabilities="review, code")


async def test_leaving_an_unknown_hub_is_fine(hub: ScriptedHub, beta: AgentClient) -> None:
    hub.script = [refuses(404, "not_found")]
    await soon(beta.deregister())


async def test_a_function_for_the_token_that_fails_is_asked_again_like_an_absent_hub(
    hub: ScriptedHub, pace: Pace, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    ways: list[str | Exception] = [OSError("secret"), "t1", OSError("secret"), "t2"]

    async def token() -> str:
        way = ways.pop(0)
        if isinstance(way, Exception):
            raise way
        return way

    hub.script = [says(202, ACCEPTED)]
    async with AgentClient(hub.url, agent_id="beta", token=token, pace=pace) as beta:
        sending = asyncio.create_task(beta.send_message("alpha", "Hello"))
        await clock.skip(0.25)
        assert (await soon(sending)).message_id == "m_1"
        taking = asyncio.create_task(take(beta))
        await clock.skip(0.25)
        socket = await hub.connection()
        assert socket.request.headers["Authorization"] == "Bearer t2"
        await socket.send(mail(1))
        await soon(taking)
        hub.hang_up()
    assert "no_token: the function for the token raised OSError" in caplog.text
    assert "secret" not in caplog.text


async def test_a_function_for_the_token_that_fails_for_good_is_told_with_its_cause(
    hub: ScriptedHub,
) -> None:
    trouble = KeyError("nobody is signed in")

    def token() -> str:
        raise trouble

    async with AgentClient(hub.url, agent_id="beta", token=token, pace=Pace(tries=1)) as beta:
        with pytest.raises(HubError, match="no_token") as failure:
            await soon(beta.register())
    assert failure.value.__cause__ is trouble
    assert hub.calls == []


# --- questions ------------------------------------------------------------------------------

REPLIED = {**ACCEPTED, "status": "replied", "reply": mail(1, text="yes"), "cursor": "e:1"}
AWAY = says(502, "<html>")


async def test_a_question_that_was_cut_off_waits_again_for_the_time_that_is_left(
    hub: ScriptedHub, beta: AgentClient, clock: Clock
) -> None:
    async def cut_after_ten_seconds(request: web.Request) -> web.StreamResponse:
        clock.pass_(10)
        return await cuts(request)

    hub.script = [cut_after_ten_seconds, says(202, REPLIED)]
    asking = asyncio.create_task(beta.ask("alpha", "ready?", timeout=30))
    await clock.skip(0.25)
    answer = await soon(asking)
    assert (answer.text, answer.cursor) == ("yes", "e:1")
    assert [body["wait"] for _, _, body in hub.calls] == [30, 20]
    assert hub.keys[0] == hub.keys[1]


async def test_a_question_that_was_cut_off_is_not_given_up_before_its_time_is_over(
    hub: ScriptedHub, beta: AgentClient, clock: Clock
) -> None:
    draining = refuses(503, "draining", retryable=True, **{"Retry-After": "2"})
    hub.script = [cuts, draining, *[AWAY] * 6, says(202, REPLIED)]
    asking = asyncio.create_task(beta.ask("alpha", "ready?", timeout=60))
    for pause in (0.25, 2, 1, 2, 4, 8, 15, 15):
        await clock.skip(pause)
    assert (await soon(asking)).text == "yes"
    assert [body["wait"] for _, _, body in hub.calls] == [60, 60, 58, 57, 55, 51, 43, 28, 13]
    assert len(set(hub.keys)) == 1


async def test_a_question_is_tried_for_the_last_time_when_its_time_ends(
    hub: ScriptedHub, beta: AgentClient, clock: Clock
) -> None:
    hub.script = [cuts] * 6
    asking = asyncio.create_task(beta.ask("alpha", "ready?", timeout=5))
    for pause in (0.25, 0.5, 1, 2, 1.25):
        await clock.skip(pause)
    with pytest.raises(HubUnreachable) as failure:
        await soon(asking)
    assert failure.value.in_doubt
    assert [body["wait"] for _, _, body in hub.calls] == [5, 5, 5, 4, 2, 1]


async def test_a_question_that_no_hub_can_have_is_given_up_like_any_call(
    clock: Clock, pace: Pace
) -> None:
    url = f"http://127.0.0.1:{unused_port()}"
    async with AgentClient(url, agent_id="beta", pace=pace) as beta:
        asking = asyncio.create_task(beta.ask("alpha", "ready?", timeout=300))
        for pause in (0.25, 0.5, 1, 2, 4):
            await clock.skip(pause)
        with pytest.raises(HubUnreachable) as failure:
            await soon(asking)
    assert not failure.value.in_doubt


async def test_a_question_that_is_refused_for_now_is_given_up_like_any_call(
    hub: ScriptedHub, beta: AgentClient, clock: Clock
) -> None:
    hub.script = [refuses(429, "inbox_full", retryable=True)] * 6
    asking = asyncio.create_task(beta.ask("alpha", "ready?", timeout=300))
    for pause in (0.25, 0.5, 1, 2, 4):
        await clock.skip(pause)
    with pytest.raises(HubError, match="inbox_full"):
        await soon(asking)


async def test_no_reply_in_time_is_a_false_answer(hub: ScriptedHub, beta: AgentClient) -> None:
    hub.script = [says(202, {**ACCEPTED, "status": "pending", "reply": None, "cursor": "e:4"})]
    answer = await soon(beta.ask("alpha", "ready?"))
    assert not answer
    assert (answer.status, answer.text, answer.payload) == ("pending", "", {})
    assert (answer.message_id, answer.cursor) == ("m_1", "e:4")


async def test_a_crossing_question_is_no_reply(hub: ScriptedHub, beta: AgentClient) -> None:
    hub.script = [says(202, {**ACCEPTED, "status": "crossed", "reply": mail(1, text="you?")})]
    answer = await soon(beta.ask("alpha", "ready?"))
    assert not answer
    assert answer.question is not None
    assert answer.question.text == "you?"


@pytest.mark.parametrize("seconds", [0, 301])
async def test_a_wait_that_no_hub_allows_is_refused_at_once(
    beta: AgentClient, seconds: float
) -> None:
    with pytest.raises(ValueError, match="1 to 300"):
        await beta.ask("alpha", "ready?", timeout=seconds)


async def test_a_reply_already_given_is_not_handed_out_by_a_stream_that_resumes(
    hub: ScriptedHub, beta: AgentClient
) -> None:
    hub.script = [says(202, {**ACCEPTED, "status": "replied", "reply": mail(1)})]
    await soon(beta.ask("alpha", "ready?"))
    taking = asyncio.create_task(take(beta))
    socket = await hub.connection()
    await socket.send(mail(1, attempt=2))
    await socket.send(mail(2))
    assert (await soon(taking)).message.id == "m_2"


# --- a stream and its connections -----------------------------------------------------------


async def test_messages_are_handed_out_in_order_and_acked_after_the_handler(
    hub: ScriptedHub, beta: AgentClient
) -> None:
    seen: list[str] = []
    may_finish = asyncio.Event()

    async def handler(message: Message) -> None:
        seen.append(message.text)
        await may_finish.wait()

    listening = asyncio.create_task(beta.listen(handler))
    socket = await hub.connection()
    for seq in (1, 2, 3):
        await socket.send(mail(seq))
    await socket.ws.ping(b"are they all read?")
    assert await socket.receive() is WSMsgType.PONG  # and no ack before it
    may_finish.set()
    assert [await socket.receive() for _ in range(3)] == [ack(1), ack(2), ack(3)]
    assert seen == ["text 1", "text 2", "text 3"]
    await soon(asyncio.gather(beta.close(), socket.close(1000), listening))


async def test_a_stream_asks_for_manual_acks_and_its_bound(hub: ScriptedHub, pace: Pace) -> None:
    client = AgentClient(hub.url, agent_id="beta", since="e:9", max_in_flight=3, pace=pace)
    async with client as beta:
        taking = asyncio.create_task(take(beta))
        socket = await hub.connection()
        assert socket.request.path == "/ws/beta"
        query = {"ack": "manual", "since": "e:9", "max_in_flight": "3", "events": "none"}
        assert dict(socket.request.query) == query
        await socket.send(mail(10))
        await soon(taking)
        hub.hang_up()


async def test_a_thinking_handler_stops_neither_pongs_nor_heartbeats(
    hub: ScriptedHub, beta: AgentClient, clock: Clock
) -> None:
    thinker = Thinker()
    listening = asyncio.create_task(beta.listen(thinker))
    socket = await hub.connection()
    await socket.send(mail(1))
    await soon(thinker.thinking.wait())
    await socket.ws.ping(b"7")
    assert await socket.receive() is WSMsgType.PONG
    for _ in range(2):
        await clock.skip(HEARTBEAT)
        assert await socket.receive() == {"type": "heartbeat"}
    listening.cancel()
    await socket.close(1001)


async def test_a_cut_stream_resumes_from_the_last_message_handed_out(
    hub: ScriptedHub, beta: AgentClient, clock: Clock
) -> None:
    taking = asyncio.create_task(take(beta))
    socket = await hub.connection()
    assert "since" not in socket.request.query
    await socket.send(mail(1))
    await (await soon(taking)).ack()
    assert await socket.receive() == ack(1)
    await socket.send(mail(2))  # read ahead, and never asked for
    socket.cut()
    await clock.skip(0.25)
    again = await hub.connection()
    assert again.request.query["since"] == "e:1"
    await again.send(mail(2, attempt=2))
    delivery = await take(beta)
    assert (delivery.message.id, delivery.message.attempt, delivery.gap) == ("m_2", 2, False)
    assert beta.cursor == "e:2"


async def test_a_message_handled_before_is_acked_again_and_not_handed_out(
    hub: ScriptedHub, beta: AgentClient, clock: Clock
) -> None:
    taking = asyncio.create_task(take(beta))
    socket = await hub.connection()
    await socket.send(mail(1))
    await (await soon(taking)).ack()
    socket.cut()
    await clock.skip(0.25)
    again = await hub.connection()
    await again.send(mail(1, attempt=2))
    assert await again.receive() == ack(1)
    await again.send(mail(2))
    assert (await take(beta)).message.id == "m_2"


async def test_a_message_still_in_hand_is_not_handed_out_twice(
    hub: ScriptedHub, beta: AgentClient, clock: Clock
) -> None:
    taking = asyncio.create_task(take(beta))
    socket = await hub.connection()
    await socket.send(mail(1))
    delivery = await soon(taking)
    socket.cut()
    await clock.skip(0.25)
    again = await hub.connection()
    await again.send(mail(1, attempt=2))
    await again.send(mail(2))
    assert (await take(beta)).message.id == "m_2"
    await delivery.ack()
    assert await again.receive() == ack(1)


async def test_a_failing_handler_gives_its_message_back_after_a_pause_and_goes_on(
    hub: ScriptedHub, beta: AgentClient, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    attempts: list[int] = []

    async def handler(message: Message) -> None:
        attempts.append(message.attempt)
        if message.attempt < 3:
            raise RuntimeError("not yet")

    listening = asyncio.create_task(beta.listen(handler))
    socket = await hub.connection()
    await socket.send(mail(1))
    await clock.skip(0.25)
    assert await socket.receive() == release(1)
    await socket.send(mail(1, attempt=2))
    await clock.skip(0.5)
    assert await socket.receive() == release(1)
    await socket.send(mail(1, attempt=3))
    assert await socket.receive() == ack(1)
    await socket.send(mail(2))
    await clock.skip(0.25)  # a new trouble
    assert await socket.receive() == release(2)
    assert attempts == [1, 2, 3, 1]
    assert "not yet" in caplog.text
    listening.cancel()
    await socket.close(1001)


async def test_a_handler_that_is_not_async_ends_the_listening_at_its_first_message(
    hub: ScriptedHub, beta: AgentClient
) -> None:
    handled: list[str] = []

    def handler(message: Message) -> None:
        handled.append(message.id)

    listening = asyncio.create_task(beta.listen(handler))  # type: ignore[arg-type]
    socket = await hub.connection()
    await socket.send(mail(1))
    await socket.send(mail(2))
    assert await socket.receive() is WSMsgType.CLOSE, "and nothing was acked or given back"
    await socket.close(1000)
    with pytest.raises(TypeError, match="must be an async function"):
        await soon(listening)
    assert handled == ["m_1"]


async def test_that_there_is_no_hub_is_a_warning_once_until_there_was_one(
    hub: ScriptedHub, beta: AgentClient, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="agent_hub.client")
    away = refuses(503, "backend_unavailable", retryable=True)
    hub.upgrades = [away, away, away]
    taking = asyncio.create_task(take(beta))
    for pause in (0.25, 0.5, 1):
        await clock.skip(pause)
    socket = await hub.connection()
    await socket.send({"type": "hub.welcome"})
    await socket.send(mail(1))
    await soon(taking)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO", "INFO"]
    caplog.clear()
    hub.upgrades = [away, away]
    socket.cut()
    for pause in (0.25, 0.5, 1):
        await clock.skip(pause)
    await hub.connection()
    said = [record.levelname for record in caplog.records]
    assert said == ["INFO", "WARNING", "INFO"], "that one connection ended is no trouble yet"


async def test_a_stream_tries_for_ever_with_pauses_that_double_up_to_a_bound(
    hub: ScriptedHub, beta: AgentClient, clock: Clock
) -> None:
    taking = asyncio.create_task(take(beta))
    for pause in (0.25, 0.5, 1, 2, 4, 8, 15, 15):
        (await hub.connection()).cut()
        await clock.skip(pause)
    await (await hub.connection()).send(mail(1))
    assert (await soon(taking)).message.id == "m_1"


async def test_after_a_long_connection_the_pauses_start_anew(
    hub: ScriptedHub, beta: AgentClient, clock: Clock
) -> None:
    taking = asyncio.create_task(take(beta))
    for pause in (0.25, 0.5):
        (await hub.connection()).cut()
        await clock.skip(pause)
    lasting = await hub.connection()
    await clock.skip(HEARTBEAT)
    await clock.skip(HEARTBEAT)
    lasting.cut()
    await clock.skip(0.25)
    await (await hub.connection()).send(mail(1))
    await soon(taking)


async def test_after_a_connection_that_brought_a_message_the_pauses_start_anew(
    hub: ScriptedHub, beta: AgentClient, clock: Clock
) -> None:
    deliveries = beta.deliveries()
    for seq in (1, 2, 3):
        socket = await hub.connection()
        await socket.send(mail(seq))
        await soon(anext(deliveries))
        socket.cut()
        await clock.skip(0.25)


async def test_a_silent_connection_is_given_up(hub: ScriptedHub, clock: Clock) -> None:
    impatient = Pace(silence=0.1, sleep=clock.sleep, now=clock.now, random=lambda: 0.5)
    async with AgentClient(hub.url, agent_id="beta", pace=impatient) as beta:
        taking = asyncio.create_task(take(beta))
        await hub.connection()
        await clock.skip(0.25)
        await hub.connection()
        taking.cancel()
        hub.hang_up()


@pytest.mark.parametrize(
    ("close_code", "code"),
    [
        (4500, "bad_credential"),
        (4501, "bad_frame"),
        (4502, "no_credential"),
        (4503, "replaced"),
        (4504, "too_many"),
        (4509, "too_many_errors"),
    ],
)
async def test_a_close_for_good_ends_the_stream_with_its_reason(
    hub: ScriptedHub, beta: AgentClient, close_code: int, code: str
) -> None:
    listening = asyncio.create_task(beta.listen(lambda _: asyncio.sleep(0)))
    socket = await hub.connection()
    await socket.close(close_code, "said the hub")
    with pytest.raises(Disconnected, match=f"{code}: said the hub") as ended:
        await soon(listening)
    assert (ended.value.close_code, ended.value.code) == (close_code, code)


@pytest.mark.parametrize("close_code", [1000, 1001, 1009, 1011, 4008, 4010, 4012, 4013])
async def test_any_other_close_is_followed_by_a_reconnect(
    hub: ScriptedHub, beta: AgentClient, clock: Clock, close_code: int
) -> None:
    taking = asyncio.create_task(take(beta))
    await (await hub.connection()).close(close_code)
    await clock.skip(0.25)
    await (await hub.connection()).send(mail(1))
    await soon(taking)


async def test_a_hub_that_shuts_down_says_when_to_come_back(
    hub: ScriptedHub, beta: AgentClient, clock: Clock
) -> None:
    taking = asyncio.create_task(take(beta))
    socket = await hub.connection()
    await socket.send({"type": "hub.notice", "from": "hub", "reconnect_after_ms": 3210})
    await socket.close(WSCloseCode.GOING_AWAY)
    await clock.skip(3.21)
    (await hub.connection()).cut()
    await clock.skip(0.25)  # said once, meant once
    await (await hub.connection()).send(mail(1))
    await soon(taking)


async def test_a_registered_agent_registers_again_when_it_reconnects(
    hub: ScriptedHub, beta: AgentClient, clock: Clock
) -> None:
    away = refuses(503, "draining", retryable=True, **{"Retry-After": "2"})
    hub.script = [says(201, REGISTERED), away, says(201, REGISTERED)]
    await beta.register()
    taking = asyncio.create_task(take(beta))
    (await hub.connection()).cut()
    await clock.skip(0.25)
    await clock.skip(2)
    await (await hub.connection()).send(mail(1))
    await soon(taking)
    assert [path for _, path, _ in hub.calls] == ["agents/register"] * 3


async def test_a_gap_is_marked_on_the_first_message_after_it(
    hub: ScriptedHub, beta: AgentClient, clock: Clock
) -> None:
    taking = asyncio.create_task(take(beta))
    socket = await hub.connection()
    await socket.send(mail(5))
    await soon(taking)
    socket.cut()
    await clock.skip(0.25)
    reborn = await hub.connection(recovered=False)
    await reborn.send(mail(1, id="m_a", epoch="f"))
    await reborn.send(mail(2, id="m_b", epoch="f"))
    assert [(await take(beta)).gap for _ in range(2)] == [True, False]
    assert beta.cursor == "f:2"


async def test_a_message_that_comes_back_late_does_not_move_the_cursor_back(
    hub: ScriptedHub, beta: AgentClient
) -> None:
    taking = asyncio.create_task(take(beta))
    socket = await hub.connection()
    await socket.send(mail(2))
    await soon(taking)
    await socket.send(mail(1, attempt=2))
    await take(beta)
    assert beta.cursor == "e:2"


async def test_a_refused_upgrade_raises_the_hubs_problem(
    hub: ScriptedHub, beta: AgentClient
) -> None:
    hub.upgrades = [refuses(403, "wrong_origin")]
    with pytest.raises(HubError, match="wrong_origin"):
        await take(beta)


async def test_an_upgrade_refused_for_now_is_tried_again_when_the_hub_wishes(
    hub: ScriptedHub, beta: AgentClient, clock: Clock
) -> None:
    hub.upgrades = [refuses(503, "draining", retryable=True, **{"Retry-After": "9"})]
    taking = asyncio.create_task(take(beta))
    await clock.skip(9)
    await (await hub.connection()).send(mail(1))
    await soon(taking)


async def test_something_that_speaks_no_websocket_is_reported(
    hub: ScriptedHub, beta: AgentClient
) -> None:
    hub.upgrades = [says(200, "hello")]
    with pytest.raises(HubError, match="unexpected_answer"):
        await take(beta)


@pytest.mark.parametrize("frame", ["no json", "[]", '{"id": "m_1"}', '{"kind": "no type"}'])
async def test_a_frame_that_no_hub_would_send_is_reported(
    hub: ScriptedHub, beta: AgentClient, frame: str
) -> None:
    taking = asyncio.create_task(take(beta))
    socket = await hub.connection()
    await socket.ws.send_str(frame)
    assert await socket.receive() is WSMsgType.CLOSE
    with pytest.raises(HubError, match="unexpected_answer"):
        await soon(taking)


async def test_frames_of_types_yet_unknown_are_passed_over(
    hub: ScriptedHub, beta: AgentClient, caplog: pytest.LogCaptureFixture
) -> None:
    taking = asyncio.create_task(take(beta))
    socket = await hub.connection()
    await socket.send({"type": "agent.joined", "from": "hub", "agents": [{"agent_id": "x"}]})
    await socket.send({"type": "hub.error", "from": "hub", "problem": {"code": "invalid"}})
    await socket.send(mail(1))
    assert (await soon(taking)).message.id == "m_1"
    assert "invalid" in caplog.text


# --- the end --------------------------------------------------------------------------------


async def test_a_close_waits_until_the_hub_has_read_the_acks(
    hub: ScriptedHub, beta: AgentClient
) -> None:
    taking = asyncio.create_task(take(beta))
    socket = await hub.connection()
    await socket.send(mail(1))
    await (await soon(taking)).ack()
    closing = asyncio.create_task(beta.close())
    for _ in range(100):  # turns of the loop
        await asyncio.sleep(0)
    assert not closing.done()
    assert await socket.receive() == ack(1)
    assert await socket.receive() is WSMsgType.CLOSE
    await soon(closing)


async def test_a_close_ends_the_iteration_and_lets_go_of_what_was_read_ahead(
    hub: ScriptedHub, beta: AgentClient
) -> None:
    deliveries = beta.deliveries()
    socket = await hub.connection()
    for seq in (1, 2, 3):
        await socket.send(mail(seq))
    assert (await soon(anext(deliveries))).message.id == "m_1"
    await socket.ws.ping(b"are they all read?")
    assert await socket.receive() is WSMsgType.PONG
    closing = asyncio.create_task(beta.close())
    assert await socket.receive() is WSMsgType.CLOSE
    await soon(closing)
    assert await soon(collect(deliveries)) == []


CALLS: dict[str, Callable[[AgentClient], Awaitable[object]]] = {
    "register": AgentClient.register,
    "deregister": AgentClient.deregister,
    "heartbeat": AgentClient.heartbeat,
    "agents": AgentClient.agents,
    "send_message": lambda client: client.send_message("alpha", "Hello"),
    "ask": lambda client: client.ask("alpha", "ready?"),
    "standing": lambda client: client.standing("m_1"),
    "messages": AgentClient.messages,
    "receive": AgentClient.receive,
    "deliveries": take,
    "listen": lambda client: client.listen(Thinker()),
    "async with": AgentClient.__aenter__,
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
@pytest.mark.parametrize("was_used", [True, False])
async def test_a_closed_client_says_so(
    hub: ScriptedHub,
    beta: AgentClient,
    was_used: bool,
    call: Callable[[AgentClient], Awaitable[object]],
) -> None:
    if was_used:
        hub.script = [says(201, REGISTERED)]
        await beta.register()
    await beta.close()
    await beta.close()
    with pytest.raises(RuntimeError, match="this client is closed"):
        await soon(call(beta))


async def test_a_close_ends_a_call_that_is_under_way(hub: ScriptedHub, beta: AgentClient) -> None:
    asked, over = asyncio.Event(), asyncio.Event()

    async def think(_: web.Request) -> web.StreamResponse:
        asked.set()
        await over.wait()
        return web.Response()

    hub.script = [think]
    asking = asyncio.create_task(beta.ask("alpha", "ready?"))
    await soon(asked.wait())
    await beta.close()
    with pytest.raises(RuntimeError, match="this client is closed"):
        await soon(asking)
    over.set()


@pytest.mark.parametrize(
    ("was_cancelled", "end"), [(False, RuntimeError), (True, asyncio.CancelledError)]
)
async def test_a_close_ends_a_call_that_still_looks_for_the_hubs_address(
    monkeypatch: pytest.MonkeyPatch, was_cancelled: bool, end: type[BaseException]
) -> None:
    asked = asyncio.Event()

    async def look_for_ever(*_: object, **__: object) -> None:
        asked.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", look_for_ever)
    async with AgentClient("http://hub.example.com", agent_id="beta") as beta:
        registering = asyncio.create_task(beta.register())
        await soon(asked.wait())
        if was_cancelled:
            registering.cancel()
    with pytest.raises(end):
        await soon(registering)


async def test_a_close_that_is_cancelled_leaves_nothing_open(
    hub: ScriptedHub, beta: AgentClient
) -> None:
    before = asyncio.all_tasks()
    taking = asyncio.create_task(take(beta))
    socket = await hub.connection()
    await socket.send(mail(1))
    await soon(taking)
    closing = asyncio.create_task(beta.close())
    assert await socket.receive() is WSMsgType.CLOSE
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await soon(closing)
    assert beta._rest._session is not None
    assert beta._rest._session.closed
    socket.over.set()
    ours = {task for task in asyncio.all_tasks() - before if "agent_hub" in repr(task.get_coro())}
    await soon(asyncio.gather(*ours, return_exceptions=True))


async def collect(deliveries: AsyncIterator[Delivery]) -> list[Delivery]:
    return [delivery async for delivery in deliveries]


async def test_a_cancelled_listener_leaves_its_message_to_the_hub(
    hub: ScriptedHub, beta: AgentClient
) -> None:
    thinker = Thinker()
    listening = asyncio.create_task(beta.listen(thinker))
    socket = await hub.connection()
    await socket.send(mail(1))
    await soon(thinker.thinking.wait())
    listening.cancel()
    assert await socket.receive() is WSMsgType.CLOSE  # and no release: it was no failure
    with pytest.raises(asyncio.CancelledError):
        await soon(listening)
    taking = asyncio.create_task(take(beta))
    await (await hub.connection()).send(mail(1, attempt=2))
    assert (await soon(taking)).message.id == "m_1"


async def test_a_stream_that_was_left_goes_on_where_it_was(
    hub: ScriptedHub, beta: AgentClient
) -> None:
    taking = asyncio.create_task(take(beta))
    socket = await hub.connection()
    await socket.send(mail(1))
    await socket.send(mail(2))
    assert (await soon(taking)).message.id == "m_1"
    assert (await take(beta)).message.id == "m_2"


async def test_closing_while_the_hub_is_away_does_not_wait_for_it(
    hub: ScriptedHub, beta: AgentClient, clock: Clock
) -> None:
    taking = asyncio.create_task(take(beta))
    (await hub.connection()).cut()
    await clock.skip(0.25)
    (await hub.connection()).cut()
    await soon(beta.close())
    with pytest.raises(StopAsyncIteration):
        await soon(taking)


async def test_messages_beyond_the_bound_wait_in_the_socket(hub: ScriptedHub, pace: Pace) -> None:
    async with AgentClient(hub.url, agent_id="beta", max_in_flight=1, pace=pace) as beta:
        deliveries = beta.deliveries()
        socket = await hub.connection()
        for seq in range(1, 301):
            await socket.send(mail(seq))
        got = [(await soon(anext(deliveries))).message.seq for _ in range(300)]
        assert got == list(range(1, 301))
        hub.hang_up()


async def test_nothing_is_logged_of_what_a_message_says(
    hub: ScriptedHub, beta: AgentClient, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="agent_hub.client")
    hub.script = [cuts, says(202, ACCEPTED)]
    sending = asyncio.create_task(beta.send_message("alpha", "canary"))
    await clock.skip(0.25)
    await soon(sending)
    taking = asyncio.create_task(take(beta))
    socket = await hub.connection()
    await socket.send(mail(1, text="canary"))
    await soon(taking)
    socket.cut()
    await clock.skip(0.25)
    assert "canary" not in caplog.text
