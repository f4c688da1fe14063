"""How a socket ends: with which code, and what becomes of what was in flight."""

from __future__ import annotations

import asyncio
import json

import pytest
from aiohttp import WSMsgType

from agent_hub.core.limits import Limits
from agent_hub.queue_backends.memory import MemoryBackend
from agent_hub.web.close_codes import CloseCode
from tests.clock import ManualClock
from tests.core.calls import away
from tests.patience import PATIENCE
from tests.server import RunningHub, running_hub
from tests.web.line import BINARY, CLOSE, PONG, TEXT, Line, dialled, frame, upgraded
from tests.web.peer import Peer, connected, look, metric, post, state, until

GARBAGE = "this is not JSON"


async def closes(hub: RunningHub, code: int | str) -> float:
    """How many sockets closed with this code."""
    return await metric(hub, f'agenthub_websocket_closes_total{{code="{code}"}}')


async def gone(hub: RunningHub, open_sockets: int = 0) -> None:
    """Wait until the hub has no more than so many sockets, and let them be counted."""
    async with asyncio.timeout(PATIENCE):
        while await metric(hub, "agenthub_websocket_connections") > open_sockets:
            pass


# --- takeover -----------------------------------------------------------------------------


async def test_a_second_connection_takes_over_and_the_first_is_closed_with_4503() -> None:
    async with (
        running_hub() as hub,
        connected(hub, "beta") as older,
        connected(hub, "beta") as newer,
    ):
        assert await older.closed() == 4503
        await post(hub, "beta", "for the newer")
        assert await newer.texts(1) == ["for the newer"]
        await gone(hub, open_sockets=1)
        assert await closes(hub, 4503) == 1
        assert hub.hub.open_subscriptions == 1


async def test_a_takeover_hands_what_is_in_flight_to_the_newcomer() -> None:
    async with running_hub() as hub, connected(hub, "beta", receipts=False) as older:
        await post(hub, "beta", "one", "two")
        assert await older.texts(2) == ["one", "two"]
        async with connected(hub, "beta") as newer:
            frames = await newer.frames(2)
            assert await older.closed() == 4503
    assert [(frame["text"], frame["attempt"]) for frame in frames] == [("one", 2), ("two", 2)]


async def test_the_loser_of_a_takeover_may_still_receipt_what_it_read() -> None:
    async with running_hub() as hub, connected(hub, "beta", receipts=False) as older:
        one = await post(hub, "beta", "one")
        await older.texts(1)
        ping = await older.ping()
        await older.socket.pong(ping)
        async with connected(hub, "beta") as newer:
            assert await older.closed() == 4503
            assert await newer.sync() == []
            assert await state(hub, one["message_id"], "beta") == "acked"


async def test_many_takeovers_at_once_leave_one_socket() -> None:
    async with running_hub() as hub:
        sockets = [await hub.session.ws_connect("/ws/beta?events=none") for _ in range(20)]
        await post(hub, "beta", "for the last")
        received = [await socket.receive() for socket in sockets for _ in range(2)]
        await sockets[-1].close()
        await gone(hub)
    kinds = [one.type for one in received]
    assert kinds == [WSMsgType.TEXT, WSMsgType.CLOSE] * 19 + [WSMsgType.TEXT] * 2
    assert {one.data for one in received if one.type is WSMsgType.CLOSE} == {4503}


async def test_the_end_of_a_registration_closes_its_socket_and_keeps_its_mail() -> None:
    async with running_hub() as hub, connected(hub, "beta", receipts=False) as beta:
        await post(hub, "beta", "one")
        await beta.texts(1)
        async with hub.session.delete("/api/v1/agents/beta") as response:
            assert response.status == 204
        assert await beta.closed() == 4503
        await gone(hub)
        assert [message["state"] for message in await look(hub, "beta")] == ["ready"]
        assert await closes(hub, 4503) == 1


# --- the client's own end -----------------------------------------------------------------


async def test_a_clean_close_is_answered_and_counted_as_1000() -> None:
    async with running_hub() as hub, connected(hub, "beta") as beta:
        await beta.socket.close()
        assert beta.socket.close_code == 1000
        await gone(hub)
        assert await closes(hub, 1000) == 1


async def test_a_close_without_a_code_is_a_clean_one() -> None:
    async with running_hub() as hub, upgraded(hub, "beta") as line:
        line.send(frame(CLOSE))
        assert (await line.receive())[0] == CLOSE
        await gone(hub)
        assert await closes(hub, 1000) == 1


async def test_a_cut_line_is_counted_as_1006() -> None:
    async with running_hub() as hub, upgraded(hub, "beta") as line:
        line.cut()
        await gone(hub)
        assert await closes(hub, 1006) == 1


async def test_a_client_that_goes_before_its_welcome_is_counted_out_again() -> None:
    async with running_hub() as hub:
        with dialled(hub, "beta") as line:
            line.cut()
            await until(hub, lambda: hub.hub.registered_agents)
            await gone(hub)
            assert hub.hub.open_subscriptions == 0


async def test_a_close_code_of_the_clients_own_does_not_become_a_label() -> None:
    async with running_hub() as hub, connected(hub, "beta") as beta:
        await beta.socket.close(code=3999)
        await gone(hub)
        assert await closes(hub, "other") == 1


# --- frames that end it -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(frame(BINARY, b"{}"), 1003, id="binary"),
        pytest.param(frame(BINARY), 1003, id="empty binary"),
        pytest.param(frame(TEXT, b"\xff\xfe"), 1007, id="not UTF-8"),
        pytest.param(frame(TEXT, b'{"to": "\xed\xa0\x80"}'), 1007, id="surrogate"),
        pytest.param(frame(TEXT, b" " * (320 * 1024 + 1)), 1009, id="too big"),
        pytest.param(
            frame(TEXT, b" " * 200_000, final=False) + frame(0, b" " * 200_000),
            1009,
            id="too big in fragments",
        ),
        pytest.param(b"\x81\xff" + b"\x7f" + b"\xff" * 7, 1009, id="said to be too big"),
        pytest.param(b"\x83\x80" + bytes(4), 1002, id="unknown opcode"),
        pytest.param(b"\xf1\x80" + bytes(4), 1002, id="reserved bits"),
        pytest.param(b"\x89\xfe\x00\x7e" + bytes(130), 1002, id="long ping"),
        pytest.param(frame(CLOSE, b"\x00\x01"), 1002, id="illegal close code"),
    ],
)
async def test_a_frame_that_cannot_be_taken_ends_the_socket_with_its_code(
    data: bytes, code: int
) -> None:
    async with running_hub() as hub:
        await post(hub, "beta", "one")
        async with upgraded(hub, "beta") as line:
            line.send(data)
            assert await line.close_code() == code
            line.cut()
            await gone(hub)
            assert await closes(hub, code) == 1
            assert [message["state"] for message in await look(hub, "beta")] == ["ready"]


async def test_the_largest_frame_is_taken_and_one_in_fragments_too() -> None:
    async with running_hub() as hub, upgraded(hub, "alpha") as line:
        text = json.dumps({"to": "beta", "text": "x" * 200_000}).encode().ljust(320 * 1024)
        for frames in (
            [frame(TEXT, text)],
            [frame(TEXT, text[:1000], final=False), frame(0, text[1000:])],
        ):
            line.send(*frames)
            kind, answer = await line.receive()
            assert kind == TEXT
            assert json.loads(answer)["type"] == "hub.accepted"


async def test_twenty_errors_in_a_row_end_it_with_4509() -> None:
    async with running_hub() as hub, connected(hub, "beta") as beta:
        for _ in range(20):
            assert (await beta.ask(GARBAGE))["type"] == "hub.error"
        assert await beta.closed() == 4509
        await beta.socket.close()
        await gone(hub)
        assert await closes(hub, 4509) == 1


async def test_one_good_frame_starts_the_count_of_errors_anew() -> None:
    async with running_hub() as hub, connected(hub, "beta") as beta:
        for _ in range(3):
            for _ in range(19):
                await beta.ask(GARBAGE)
            await beta.say({"type": "heartbeat"})
        assert await beta.sync() == []


async def test_no_outage_of_the_store_and_no_full_inbox_ends_it(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = MemoryBackend(clock, Limits(inbox_messages=0))
    async with running_hub(clock=clock, backend=backend) as hub, connected(hub, "beta") as beta:
        with monkeypatch.context() as broken:
            broken.setattr(backend, "touch_agent", away)
            for _ in range(20):
                refused = await beta.ask({"type": "heartbeat"})
                assert refused["problem"]["code"] == "backend_unavailable"
        for _ in range(20):
            assert (await beta.send("alpha"))["problem"]["code"] == "inbox_full"
        assert await beta.sync() == []


async def test_a_flood_over_the_rate_limit_ends_with_4013(clock: ManualClock) -> None:
    async with (
        running_hub(clock=clock, rate_limit=10, rate_burst=20) as hub,
        connected(hub, "alpha") as alpha,
    ):
        for _ in range(40):
            await alpha.say({"to": "beta", "text": "x"})
        answers = await alpha.frames(40)
        assert await alpha.closed() == 4013
        await alpha.socket.close()
        await gone(hub)
        assert await closes(hub, 4013) == 1
        assert len(await look(hub, "beta", limit="100")) == 20
    assert [answer["type"] for answer in answers] == ["hub.accepted"] * 20 + ["hub.error"] * 20


async def test_a_refusal_for_the_rate_says_when_to_come_back(clock: ManualClock) -> None:
    async with (
        running_hub(clock=clock, rate_limit=10, rate_burst=2) as hub,
        connected(hub, "alpha") as alpha,
    ):
        await alpha.send("beta")
        await alpha.send("beta")
        refused = await alpha.send("beta")
        await clock.advance(refused["problem"]["retry_after"])
        assert (await alpha.send("beta"))["type"] == "hub.accepted"
    assert refused["problem"]["code"] == "rate_limited"
    assert refused["problem"]["status"] == 429
    assert refused["headers"] == {
        "Retry-After": "1",
        "RateLimit-Policy": '"agent";q=10;w=1',
        "RateLimit": '"agent";r=0;t=1',
    }


async def test_heartbeats_and_acks_are_never_counted(clock: ManualClock) -> None:
    async with (
        running_hub(clock=clock, rate_limit=1, rate_burst=2) as hub,
        connected(hub, "beta", ack="manual") as beta,
    ):
        for _ in range(50):
            await beta.say({"type": "heartbeat"})
            await beta.say({"type": "hub.ack", "ids": []})
            await beta.say({"type": "hub.release", "ids": []})
        assert await beta.sync() == []
        assert (await beta.send("alpha"))["type"] == "hub.accepted"


# --- silence ------------------------------------------------------------------------------


async def test_the_hub_pings_every_30_s_and_an_answer_keeps_the_socket(
    clock: ManualClock,
) -> None:
    async with running_hub(clock=clock) as hub, connected(hub, "beta", receipts=False) as beta:
        for _ in range(10):
            await clock.advance(30)
            await beta.socket.pong(await beta.ping())
            assert await beta.sync() == []
        assert await closes(hub, 4012) == 0


async def test_a_socket_silent_for_90_s_is_closed_with_4012_and_its_mail_is_ready(
    clock: ManualClock,
) -> None:
    async with running_hub(clock=clock) as hub, upgraded(hub, "beta") as line:
        await post(hub, "beta", "one")
        await clock.advance(89)
        assert [message["state"] for message in await look(hub, "beta")] == ["leased"]
        await clock.advance(32)
        assert await line.close_code() == 4012
        await gone(hub)
        assert [message["state"] for message in await look(hub, "beta")] == ["ready"]
        assert await closes(hub, 4012) == 1


@pytest.mark.parametrize(
    "sign", [frame(TEXT, b'{"type":"heartbeat"}'), frame(PONG), frame(TEXT, b"garbage")]
)
async def test_anything_at_all_is_a_sign_of_life(clock: ManualClock, sign: bytes) -> None:
    async with running_hub(clock=clock) as hub, upgraded(hub, "beta") as line:
        for _ in range(5):
            await clock.advance(80)
            line.send(sign)
            await look(hub, "beta")
        assert hub.hub.open_subscriptions == 1


# --- a socket that does not take what is written -------------------------------------------

BIG = "x" * 60_000


async def stuffed(hub: RunningHub, agent_id: str, count: int = 120) -> None:
    """Lay more into an inbox than all buffers between the hub and a client can hold."""
    await post(hub, agent_id, *(f"{number}{BIG}" for number in range(count)))


async def test_a_write_blocked_for_10_s_closes_with_4008_and_frees_the_leases(
    clock: ManualClock,
) -> None:
    async with running_hub(clock=clock) as hub, upgraded(hub, "beta", buffer=4096) as line:
        await stuffed(hub, "beta")
        await clock.advance(9)
        assert "leased" in [message["state"] for message in await look(hub, "beta")]
        await clock.advance(2)
        await gone(hub)
        assert {message["state"] for message in await look(hub, "beta")} == {"ready"}
        assert await closes(hub, 4008) == 1
        assert await line.close_code() == 4008


async def take_slowly(line: Line, clock: ManualClock, count: int) -> None:
    """Read so many messages, and think for 8 s after each megabyte or so."""
    for number in range(count):
        if number % 20 == 0:
            await clock.advance(8)
        assert json.loads(await line.text())["text"].removesuffix(BIG) == str(number)


async def test_a_client_that_takes_some_within_every_10_s_is_not_too_slow(
    clock: ManualClock,
) -> None:
    async with running_hub(clock=clock) as hub:
        await stuffed(hub, "beta", 100)
        async with upgraded(hub, "beta", "max_in_flight=100", buffer=4096) as line:
            await take_slowly(line, clock, 100)


async def test_what_is_sent_again_is_written_in_bites_too(clock: ManualClock) -> None:
    async with running_hub(clock=clock) as hub:
        await stuffed(hub, "beta", 100)
        messages = await look(hub, "beta", limit="100")
        body = {"agent_id": "beta", "ids": [message["id"] for message in messages]}
        async with hub.session.post("/api/v1/messages/ack", json=body) as response:
            assert (await response.json())["acked"] == 100
        before = messages[0]["cursor"].removesuffix("1") + "0"
        async with upgraded(hub, "beta", f"since={before}", buffer=4096) as line:
            await take_slowly(line, clock, 100)


async def test_a_slow_reader_holds_up_nobody_else(clock: ManualClock) -> None:
    async with (
        running_hub(clock=clock) as hub,
        connected(hub, "gamma") as gamma,
        upgraded(hub, "beta", buffer=4096),
    ):
        await stuffed(hub, "beta")
        await post(hub, "ALL", "everybody", sender="other")
        assert await gamma.texts(1) == ["everybody"]


async def test_a_takeover_of_a_blocked_socket_does_not_wait_for_it(clock: ManualClock) -> None:
    async with running_hub(clock=clock) as hub, upgraded(hub, "beta", buffer=4096):
        await stuffed(hub, "beta")
        async with connected(hub, "beta") as newer:
            texts = await newer.texts(120)
        assert [text.removesuffix(BIG) for text in texts] == list(map(str, range(120)))


# --- shutdown -----------------------------------------------------------------------------


async def test_at_shutdown_a_notice_says_when_to_come_back_and_1001_follows() -> None:
    async with running_hub() as hub, connected(hub, "beta", receipts=False) as beta:
        await post(hub, "beta", "one")
        await beta.texts(1)
        await hub.hub.drain()
        notice = await beta.next()
        assert (notice["type"], notice["from"]) == ("hub.notice", "hub")
        assert 0 <= notice["reconnect_after_ms"] <= 5_000
        assert await beta.closed() == 1001
        await beta.socket.close()
        await gone(hub)
        assert await closes(hub, 1001) == 1
        assert [message["state"] for message in await look(hub, "beta")] == ["ready"]


async def test_the_times_to_come_back_are_spread() -> None:
    async with running_hub() as hub:
        peers: list[Peer] = []
        for number in range(10):
            socket = await hub.session.ws_connect(f"/ws/agent-{number}?events=none")
            peers.append(Peer(socket, receipts=True))
            await peers[-1].next()
        await hub.hub.drain()
        times = {(await peer.next())["reconnect_after_ms"] for peer in peers}
    assert len(times) > 5


async def test_while_draining_nothing_new_is_taken() -> None:
    async with running_hub() as hub:
        await hub.hub.drain()
        async with hub.session.get("/ws/beta", headers={}) as response:
            assert response.status == 422  # a plain GET is told so all the same
        body = {"from": "alpha", "to": "beta", "text": "x"}
        async with hub.session.post("/api/v1/messages", json=body) as response:
            assert (response.status, "Retry-After" in response.headers) == (503, True)
        async with hub.session.get("/readyz") as response:
            assert response.status == 503
        async with hub.session.get("/livez") as response:
            assert response.status == 200


def test_every_code_that_ends_for_good_is_4500_or_above() -> None:
    final = {code for code in CloseCode if code >= 4500}
    assert {code.name for code in final} == {
        "BAD_CREDENTIAL",
        "BAD_FRAME",
        "NO_CREDENTIAL",
        "REPLACED",
        "TOO_MANY",
        "TOO_MANY_ERRORS",
    }
