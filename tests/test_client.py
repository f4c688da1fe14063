"""The client: who an agent is, what it remembers, and what it does with a real hub."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import TypeVar

import pytest
from aiohttp.test_utils import TestServer, unused_port

from agent_hub.app import create_app
from agent_hub.client import AgentClient, Delivery, Disconnected, HubError, Message, Pace
from agent_hub.client.buffer import Buffer
from agent_hub.client.handed import Handed
from agent_hub.config import Settings
from tests.clock import ManualClock
from tests.patience import PATIENCE

T = TypeVar("T")
Join = Callable[..., Awaitable[AgentClient]]


@pytest.mark.parametrize(
    ("name", "session_id", "agent_id"),
    [
        ("Beta", "01TYEi4Mjf2Tft2SWjjVtdQ3", "beta-01TYEi4M"),
        ("Code  Reviewer (EU)", "abc", "code-reviewer-eu-abc"),
        ("Ångström", "s1", "angstrom-s1"),
        ("x" * 128, "0123456789", "x" * 55 + "-01234567"),
        ("Beta", "a/b c?d", "beta-a-b-c-d"),
    ],
)
def test_an_id_is_made_of_the_name_and_the_start_of_the_session(
    name: str, session_id: str, agent_id: str
) -> None:
    assert AgentClient(name=name, session_id=session_id).agent_id == agent_id


def test_a_given_id_is_taken_as_it_is() -> None:
    assert AgentClient(agent_id="Beta.1", name="Other", session_id="s").agent_id == "Beta.1"


@pytest.mark.parametrize(
    ("name", "session_id"), [(None, None), ("Beta", None), (None, "s1"), ("日本", "s1"), ("B", "?")]
)
def test_without_an_id_and_without_what_makes_one_the_client_says_what_is_missing(
    name: str | None, session_id: str | None
) -> None:
    with pytest.raises(ValueError, match="agent_id, or name and session_id"):
        AgentClient(name=name, session_id=session_id)


@pytest.mark.parametrize("agent_id", ["", "ALL", "hub", "-a", "a/b", "a" * 65])
def test_an_id_that_no_agent_can_have_is_refused(agent_id: str) -> None:
    with pytest.raises(ValueError, match="cannot be an agent id"):
        AgentClient(agent_id=agent_id)


def test_a_url_that_is_not_http_is_refused() -> None:
    with pytest.raises(ValueError, match="http://"):
        AgentClient("localhost:8080", agent_id="beta")


def test_a_client_remembers_a_bounded_number_of_messages() -> None:
    handed = Handed(limit=2)
    for message_id in ("a", "b", "c"):
        assert handed.take(message_id)
    assert handed.take("a")
    assert not handed.take("c")


def test_what_was_settled_is_remembered_and_what_was_held_can_be_forgotten() -> None:
    handed = Handed()
    handed.take("held")
    handed.take("settled")
    handed.settle("settled")
    handed.forget_held()
    assert handed.is_settled("settled")
    assert handed.take("held")


async def test_a_full_buffer_takes_more_only_when_something_was_taken_out() -> None:
    buffer = Buffer(room=1)
    await buffer.put(message("m_1"))
    putting = asyncio.create_task(buffer.put(message("m_2")))
    await asyncio.sleep(0)
    assert not putting.done()
    assert (await buffer.get()).id == "m_1"
    await putting
    assert (await buffer.get()).id == "m_2"


def message(message_id: str) -> Message:
    now = datetime.now(UTC)
    return Message(
        id=message_id,
        sender="alpha",
        to="beta",
        type="message",
        seq=1,
        cursor="e:1",
        timestamp=now,
        expires_at=now,
    )


# --- with a real hub --------------------------------------------------------------------------


async def soon(awaitable: Awaitable[T]) -> T:
    async with asyncio.timeout(PATIENCE):
        return await awaitable


async def hurry(seconds: float) -> None:
    """Shorten the pauses between attempts, not those between heartbeats."""
    await asyncio.sleep(seconds if seconds >= 30 else min(seconds, 0.01))


async def start_hub(clock: ManualClock, port: int) -> TestServer:
    server = TestServer(create_app(Settings(rate_limit=0), clock=clock), port=port)
    await server.start_server()
    return server


@pytest.fixture
def port() -> int:
    return unused_port()


@pytest.fixture
async def server(clock: ManualClock, port: int) -> AsyncIterator[TestServer]:
    server = await start_hub(clock, port)
    yield server
    await server.close()


@pytest.fixture
async def join(server: TestServer, clock: ManualClock) -> AsyncIterator[Join]:
    """Make registered agents of the hub; all are closed at the end."""
    async with AsyncExitStack() as clients:

        async def join(agent_id: str, *, port: int | None = None) -> AgentClient:
            url = f"http://127.0.0.1:{port or server.port}"
            pace = Pace(sleep=hurry, now=clock.monotonic)
            client = AgentClient(url, agent_id=agent_id, name=agent_id.title(), pace=pace)
            await clients.enter_async_context(client)
            await client.register()
            return client

        yield join


async def take(agent: AgentClient) -> Delivery:
    delivery: Delivery = await soon(anext(agent.deliveries()))
    return delivery


async def test_agents_find_each_other(join: Join) -> None:
    alpha, beta = await join("alpha"), await join("beta")
    assert [peer.agent_id for peer in (await beta.register()).peers] == ["alpha"]
    assert (await alpha.heartbeat("busy")).status == "busy"
    assert [agent.name for agent in await beta.agents(status="busy")] == ["Alpha"]
    await alpha.deregister()
    assert [agent.agent_id for agent in await beta.agents()] == ["beta"]
    with pytest.raises(HubError, match="not_found"):
        await alpha.heartbeat()


async def test_a_string_arrives_as_text_and_an_object_as_payload(join: Join) -> None:
    alpha, beta = await join("alpha"), await join("beta")
    sent = await beta.send_message("alpha", "Hällo", ttl=60)
    proposal = {"type": "task_proposal", "task": "code_review"}
    await beta.send_message("alpha", proposal, reply_to=sent.message_id)
    first, second = [await take(alpha) for _ in range(2)]
    assert (first.message.id, first.message.sender, first.message.text) == (
        sent.message_id,
        "beta",
        "Hällo",
    )
    assert first.message.expires_at == sent.expires_at
    assert (second.message.type, second.message.payload) == ("task_proposal", proposal)
    assert second.message.reply_to == sent.message_id
    assert sent.recipient is not None
    assert (sent.recipient.known, sent.recipient.status) == (True, "active")


async def test_a_broadcast_reaches_all_others(join: Join) -> None:
    agents = [await join(agent_id) for agent_id in ("alpha", "beta", "gamma")]
    sent = await agents[0].send_message("ALL", "Hello all")
    assert (sent.accepted_count, sorted(sent.accepted)) == (2, ["beta", "gamma"])
    for agent in agents[1:]:
        message = (await take(agent)).message
        assert (message.id, message.broadcast) == (sent.message_id, True)


async def test_a_message_to_nobody_known_says_who_may_be_meant(join: Join) -> None:
    await join("alpha")
    beta = await join("beta")
    sent = await beta.send_message("alhpa", "Hello")
    assert sent.recipient is not None
    assert (sent.recipient.known, sent.recipient.did_you_mean) == (False, ("alpha",))


async def test_a_key_sends_a_message_once_and_no_other_one(join: Join) -> None:
    alpha, beta = await join("alpha"), await join("beta")
    first = await beta.send_message("alpha", "Hello", idempotency_key="k")
    again = await beta.send_message("alpha", "Hello", idempotency_key="k")
    assert (again.message_id, again.replayed) == (first.message_id, True)
    assert not first.replayed
    assert (await alpha.messages()).total == 1
    with pytest.raises(HubError, match="idempotency_mismatch"):
        await beta.send_message("alpha", "Goodbye", idempotency_key="k")


async def test_a_question_gets_its_answer_from_a_listener(join: Join) -> None:
    alpha, beta = await join("alpha"), await join("beta")

    async def handler(message: Message) -> None:
        await alpha.send_message(message.sender, {"ready": True}, reply_to=message.id)

    listening = asyncio.create_task(alpha.listen(handler))
    answer = await soon(beta.ask("alpha", "ready?"))
    assert (answer.status, answer.payload) == ("replied", {"ready": True})
    assert answer.reply is not None
    assert answer.reply.reply_to == answer.message_id
    await alpha.deregister()
    await soon(listening)


async def test_a_question_without_an_answer_in_time_is_pending_and_the_reply_comes_as_mail(
    join: Join, clock: ManualClock
) -> None:
    alpha, beta = await join("alpha"), await join("beta")
    asking = asyncio.create_task(beta.ask("alpha", "ready?", timeout=30))
    question = (await take(alpha)).message
    await clock.advance(30)
    answer = await soon(asking)
    assert (bool(answer), answer.status, answer.message_id) == (False, "pending", question.id)
    await alpha.send_message("beta", "sorry, now", reply_to=question.id)
    assert (await take(beta)).message.text == "sorry, now"


async def test_two_agents_that_ask_each_other_do_not_wait_for_ever(join: Join) -> None:
    alpha, beta = await join("alpha"), await join("beta")
    asking = asyncio.create_task(alpha.ask("beta", "yours?"))
    await take(beta)
    answering = asyncio.create_task(beta.ask("alpha", "no, yours?"))
    crossed = await soon(asking)
    assert crossed.status == "crossed"
    assert crossed.question is not None
    await alpha.send_message("beta", "mine", reply_to=crossed.question.id)
    assert (await soon(answering)).text == "mine"


async def test_looking_takes_nothing_and_taking_can_be_undone(join: Join) -> None:
    alpha, beta = await join("alpha"), await join("beta")
    sent = [await beta.send_message("alpha", text) for text in ("one", "two")]
    page = await alpha.messages(limit=1)
    assert ([m.state for m in page.messages], page.total) == (["ready"], 2)
    one, two = await alpha.receive()
    await one.ack()
    await two.release()
    standings = [(await beta.standing(each.message_id))[0] for each in sent]
    assert [(s.agent_id, s.state) for s in standings] == [("alpha", "acked"), ("alpha", "ready")]
    kept = await alpha.messages(since=f"{sent[0].epoch}:0")
    assert [m.state for m in kept.messages] == ["acked", "ready"]
    assert kept.recovered
    assert [d.message.attempt for d in await alpha.receive()] == [2]


async def test_another_session_of_an_agent_ends_the_stream_of_the_first(join: Join) -> None:
    first, second = await join("alpha"), await join("alpha")
    taking = asyncio.create_task(take(first))
    beta = await join("beta")
    await beta.send_message("alpha", "one")
    await (await soon(taking)).ack()
    ending = asyncio.create_task(take(first))
    await beta.send_message("alpha", "two")
    await (await soon(ending)).ack()
    replaced = asyncio.create_task(take(first))
    taking = asyncio.create_task(take(second))
    with pytest.raises(Disconnected, match="replaced"):
        await soon(replaced)
    await beta.send_message("alpha", "three")
    assert (await soon(taking)).message.text == "three"


async def test_what_a_client_had_not_acked_is_handed_to_its_next_life(join: Join) -> None:
    beta = await join("beta")
    async with await join("alpha") as alpha:
        await beta.send_message("alpha", "one")
        await beta.send_message("alpha", "two")
        await (await take(alpha)).ack()
        await take(alpha)
    again = await take(await join("alpha"))
    assert (again.message.text, again.message.attempt) == ("two", 2)


async def test_a_hub_that_comes_back_without_its_memory_learns_again_who_is_here(
    join: Join, server: TestServer, clock: ManualClock, port: int
) -> None:
    alpha, beta = await join("alpha"), await join("beta")
    await beta.send_message("alpha", "before")
    await (await take(alpha)).ack()
    taking = asyncio.create_task(take(alpha))
    await server.close()
    reborn = await start_hub(clock, port)
    await beta.send_message("alpha", "after")
    after = await soon(taking)
    assert (after.message.text, after.gap) == ("after", True)
    assert [agent.name for agent in await beta.agents()] == ["Alpha"]
    await alpha.close()
    await reborn.close()


class Relay:
    """A TCP line to the hub that can be cut, as a network does it."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._lines: set[asyncio.StreamWriter] = set()
        self.port = 0

    async def start(self) -> asyncio.Server:
        server = await asyncio.start_server(self._join, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._target)
        self._lines |= {writer, back}
        await asyncio.gather(self._copy(reader, back), self._copy(there, writer))
        self._lines -= {writer, back}

    async def _copy(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while chunk := await source.read(65536):
                sink.write(chunk)
                await sink.drain()
        except ConnectionError:
            pass  # cut
        finally:
            sink.close()

    def cut(self) -> None:
        for writer in self._lines:
            writer.transport.abort()


async def test_a_line_that_is_cut_again_and_again_costs_no_message_and_doubles_none(
    join: Join, server: TestServer
) -> None:
    relay = Relay(server.port or 0)
    line = await relay.start()
    alpha = await join("alpha", port=relay.port)
    senders = [await join(f"sender-{number}") for number in range(4)]
    seen: list[Message] = []
    complete = asyncio.Event()

    async def handler(message: Message) -> None:
        seen.append(message)
        if len(seen) % 40 == 0:
            relay.cut()
        if len(seen) == 400:
            complete.set()

    async def send(sender: AgentClient) -> None:
        for number in range(100):
            await sender.send_message("alpha", str(number))

    listening = asyncio.create_task(alpha.listen(handler))
    await soon(asyncio.gather(complete.wait(), *map(send, senders)))
    assert [message.seq for message in seen] == list(range(1, 401))
    await alpha.close()
    await soon(listening)
    line.close()
