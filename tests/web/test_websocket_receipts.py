"""What counts as received: pongs, manual acks, and what happens to the rest."""

from __future__ import annotations

import pytest

from agent_hub.core.bounds import HEARTBEAT_SECONDS
from agent_hub.queue_backends.memory import MemoryBackend
from tests.clock import ManualClock
from tests.core.calls import away
from tests.server import RunningHub, running_hub
from tests.web.peer import Peer, connected, look, metric, post, state, until


async def states(hub: RunningHub, agent_id: str) -> list[str]:
    """Those of all that is owed, oldest first."""
    return [message["state"] for message in await look(hub, agent_id)]


async def drop(peer: Peer, hub: RunningHub) -> None:
    """Cut the line, and wait until the hub knows."""
    peer.vanish()
    await until(hub, lambda: not hub.hub.open_subscriptions)


async def test_a_pong_acks_what_was_written_before_its_ping_and_nothing_else() -> None:
    async with running_hub() as hub, connected(hub, "beta", receipts=False) as beta:
        first = await post(hub, "beta", "one")
        assert await beta.texts(1) == ["one"]
        ping = await beta.ping()
        second = await post(hub, "beta", "two")
        assert await beta.texts(1) == ["two"]
        await beta.socket.pong(ping)
        next_ping = await beta.ping()
        assert await state(hub, first["message_id"], "beta") == "acked"
        assert await state(hub, second["message_id"], "beta") == "leased"
        await beta.socket.pong(next_ping)
        await beta.sync()
        assert await state(hub, second["message_id"], "beta") == "acked"


@pytest.mark.parametrize("data", [b"", b"h", b"r", b"r0", b"r2", b"r-1", b"rx", b"1", b"x" * 125])
async def test_a_pong_that_answers_no_receipt_acks_nothing(data: bytes) -> None:
    async with running_hub() as hub, connected(hub, "beta", receipts=False) as beta:
        await post(hub, "beta", "one")
        await beta.texts(1)
        assert await beta.ping() == b"r1"
        await beta.socket.pong(data)
        assert await beta.sync() == []
        assert await states(hub, "beta") == ["leased"]


async def test_a_receipt_given_twice_counts_once() -> None:
    async with running_hub() as hub, connected(hub, "beta", receipts=False) as beta:
        await post(hub, "beta", "one")
        await beta.texts(1)
        ping = await beta.ping()
        await beta.socket.pong(ping)
        await beta.socket.pong(ping)
        await beta.sync()
        assert await metric(hub, 'agenthub_messages_acked_total{mode="auto"}') == 1


async def test_a_receipt_that_the_store_was_away_for_is_asked_for_again(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = MemoryBackend(clock)
    async with (
        running_hub(clock=clock, backend=backend) as hub,
        connected(hub, "beta", max_in_flight=1) as beta,
    ):
        with monkeypatch.context() as broken:
            broken.setattr(backend, "ack", away)
            await post(hub, "beta", "one", "two")
            assert await beta.texts(1) == ["one"]
            assert await beta.sync() == []
            assert await beta.sync() == []
        await clock.advance(HEARTBEAT_SECONDS)
        assert await beta.texts(1) == ["two"]


async def test_one_receipt_covers_all_that_was_written_since_the_last() -> None:
    async with running_hub() as hub, connected(hub, "beta", receipts=False) as beta:
        await post(hub, "beta", "one")
        await beta.texts(1)
        ping = await beta.ping()
        await post(hub, "beta", "two", "three", "four")
        await beta.texts(3)
        await beta.sync()
        assert beta.pings == []
        await beta.socket.pong(ping)
        await beta.socket.pong(await beta.ping())
        await beta.sync()
        assert await states(hub, "beta") == []


async def test_without_a_pong_the_next_socket_gets_it_again_with_attempt_2() -> None:
    async with running_hub() as hub:
        async with connected(hub, "beta", receipts=False) as beta:
            await post(hub, "beta", "one", "two")
            first = await beta.frames(2)
            await drop(beta, hub)
        assert await states(hub, "beta") == ["ready", "ready"]
        async with connected(hub, "beta") as beta:
            again = await beta.frames(2)
    assert [frame["attempt"] for frame in first] == [1, 1]
    assert again == [{**frame, "attempt": 2} for frame in first]


async def test_what_was_receipted_does_not_come_again() -> None:
    async with running_hub() as hub:
        async with connected(hub, "beta") as beta:
            await post(hub, "beta", "one")
            assert await beta.texts(1) == ["one"]
            await beta.sync()  # reads the receipt's ping, and answers it
            await beta.sync()
            await drop(beta, hub)
        async with connected(hub, "beta") as beta:
            assert await beta.sync() == []


async def test_a_close_frame_is_not_a_receipt() -> None:
    async with running_hub() as hub:
        async with connected(hub, "beta", receipts=False) as beta:
            await post(hub, "beta", "one")
            await beta.texts(1)
            await beta.socket.close()
        async with connected(hub, "beta") as beta:
            frame = await beta.next()
    assert (frame["text"], frame["attempt"]) == ("one", 2)


async def test_a_missing_pong_alone_never_closes(clock: ManualClock) -> None:
    async with (
        running_hub(clock=clock, message_ttl=86_400) as hub,
        connected(hub, "beta", receipts=False) as beta,
    ):
        await post(hub, "beta", "one")
        await beta.texts(1)
        for _ in range(20):
            await clock.advance(60)
            await beta.say({"type": "heartbeat"})
            assert await beta.sync() == []
        assert await states(hub, "beta") == ["leased"]


async def test_on_a_socket_a_lease_lives_as_long_as_the_connection(clock: ManualClock) -> None:
    async with (
        running_hub(clock=clock, message_ttl=60) as hub,
        connected(hub, "beta", receipts=False) as beta,
    ):
        await post(hub, "beta", "one")
        await beta.texts(1)
        for _ in range(10):
            await clock.advance(30)
            await beta.sync()
        assert await states(hub, "beta") == ["leased"]


async def test_mail_sent_again_stands_in_its_old_place() -> None:
    async with running_hub() as hub:
        async with connected(hub, "beta", receipts=False) as beta:
            await post(hub, "beta", "one", "two")
            await beta.texts(2)
            await drop(beta, hub)
        await post(hub, "beta", "three")
        async with connected(hub, "beta") as beta:
            frames = await beta.frames(3)
    assert [(frame["text"], frame["attempt"]) for frame in frames] == [
        ("one", 2),
        ("two", 2),
        ("three", 1),
    ]


async def test_a_lost_socket_is_never_the_fault_of_a_message() -> None:
    async with running_hub() as hub:
        await post(hub, "beta", "one")
        for attempt in range(1, 15):
            async with connected(hub, "beta", receipts=False) as beta:
                assert (await beta.next())["attempt"] == attempt
                await drop(beta, hub)
        assert await states(hub, "beta") == ["ready"]


# --- manual acks --------------------------------------------------------------------------


async def test_with_manual_acks_no_receipt_is_asked_for() -> None:
    async with running_hub() as hub, connected(hub, "beta", receipts=False, ack="manual") as beta:
        await post(hub, "beta", "one")
        await beta.texts(1)
        assert await beta.sync() == []
        assert beta.pings == []
        assert await states(hub, "beta") == ["leased"]


async def test_a_manual_ack_settles_the_ids_it_names() -> None:
    async with running_hub() as hub, connected(hub, "beta", ack="manual") as beta:
        await post(hub, "beta", "one", "two")
        one, two = await beta.frames(2)
        await beta.say({"type": "hub.ack", "ids": [one["id"], "m_" + "x" * 22, one["id"]]})
        assert await beta.sync() == []
        assert await state(hub, one["id"], "beta") == "acked"
        assert await state(hub, two["id"], "beta") == "leased"
        assert await metric(hub, 'agenthub_messages_acked_total{mode="manual"}') == 1


async def test_a_released_message_comes_again_at_once() -> None:
    async with running_hub() as hub, connected(hub, "beta", ack="manual") as beta:
        await post(hub, "beta", "one", "two")
        one, two = await beta.frames(2)
        await beta.say({"type": "hub.release", "ids": [two["id"], one["id"]]})
        assert await beta.frames(2) == [{**one, "attempt": 2}, {**two, "attempt": 2}]


async def test_released_more_than_5_times_a_message_is_dead_and_its_sender_is_told(
    clock: ManualClock,
) -> None:
    async with (
        running_hub(clock=clock) as hub,
        connected(hub, "alpha") as alpha,
        connected(hub, "beta", ack="manual") as beta,
    ):
        message_id = (await alpha.send("beta", "poison"))["message_id"]
        for attempt in range(1, 7):
            assert (await beta.next())["attempt"] == attempt
            await beta.say({"type": "hub.release", "ids": [message_id]})
        assert await beta.sync() == []
        assert await state(hub, message_id, "alpha") == "dead"
        await clock.advance(2)
        notice = await alpha.next()
        assert (notice["type"], notice["from"], notice["to"]) == ("hub.undelivered", "hub", "alpha")
        assert message_id in str(notice["payload"])
        assert await alpha.sync() == []


async def test_a_dead_message_makes_room_for_those_behind_it() -> None:
    async with running_hub() as hub, connected(hub, "beta", ack="manual", max_in_flight=1) as beta:
        await post(hub, "beta", "poison", "fine")
        for _ in range(6):
            await beta.say({"type": "hub.release", "ids": [(await beta.next())["id"]]})
        assert await beta.texts(1) == ["fine"]


async def test_an_ack_by_rest_frees_the_credit_of_the_socket() -> None:
    async with running_hub() as hub, connected(hub, "beta", ack="manual", max_in_flight=1) as beta:
        await post(hub, "beta", "one", "two")
        one = await beta.next()
        body = {"agent_id": "beta", "ids": [one["id"]]}
        async with hub.session.post("/api/v1/messages/ack", json=body) as response:
            assert (await response.json())["acked"] == 1
        assert await beta.texts(1) == ["two"]


async def test_what_another_holds_cannot_be_released_over_the_socket() -> None:
    async with running_hub() as hub, connected(hub, "beta", ack="manual") as beta:
        await post(hub, "gamma", "theirs")
        theirs = (await look(hub, "gamma"))[0]["id"]
        await beta.say({"type": "hub.release", "ids": [theirs]})
        await beta.say({"type": "hub.ack", "ids": [theirs]})
        assert await beta.sync() == []
        assert await states(hub, "gamma") == ["ready"]


@pytest.mark.parametrize("control", ["hub.ack", "hub.release"])
async def test_acks_by_id_are_refused_where_receipts_do_it(control: str) -> None:
    async with running_hub() as hub, connected(hub, "beta", receipts=False) as beta:
        await post(hub, "beta", "one")
        one = await beta.next()
        answer = await beta.ask({"type": control, "ids": [one["id"]]})
        assert answer["problem"]["errors"][0]["pointer"] == "/type"
        assert await states(hub, "beta") == ["leased"]


@pytest.mark.parametrize("ids", [None, "m_1", [1], [None], {}])
async def test_ids_are_a_list_of_strings(ids: object) -> None:
    async with running_hub() as hub, connected(hub, "beta", ack="manual") as beta:
        answer = await beta.ask({"type": "hub.ack", "ids": ids})
        assert answer["problem"]["errors"][0]["pointer"].startswith("/ids")


# --- credit -------------------------------------------------------------------------------


async def test_no_more_than_max_in_flight_are_out_at_once() -> None:
    async with running_hub() as hub, connected(hub, "beta", ack="manual", max_in_flight=3) as beta:
        await post(hub, "beta", *map(str, range(8)))
        first = await beta.frames(3)
        assert await beta.sync() == []
        assert await states(hub, "beta") == ["leased"] * 3 + ["ready"] * 5
        await beta.say({"type": "hub.ack", "ids": [frame["id"] for frame in first[:2]]})
        assert await beta.texts(2) == ["3", "4"]
        assert await beta.sync() == []


async def test_by_default_64_are_out_at_once() -> None:
    async with running_hub() as hub, connected(hub, "beta", receipts=False) as beta:
        await post(hub, "beta", *map(str, range(70)))
        await beta.texts(64)
        assert await beta.sync() == []
        await beta.socket.pong(await beta.ping())
        more = [(await beta.next())["text"]]
        while len(more) < 6:
            await beta.socket.pong(await beta.ping())
            more += [frame["text"] for frame in await beta.sync()]
    assert more == [str(number) for number in range(64, 70)]


# --- since --------------------------------------------------------------------------------


async def test_since_a_cursor_the_kept_ones_come_again_and_then_what_is_owed() -> None:
    async with running_hub() as hub:
        async with connected(hub, "beta", ack="manual") as beta:
            await post(hub, "beta", "one", "two", "three", "four")
            frames = await beta.frames(4)
            await beta.say({"type": "hub.ack", "ids": [frame["id"] for frame in frames[:3]]})
            await beta.sync()
            await drop(beta, hub)
        since = frames[0]["cursor"]
        async with connected(hub, "beta", since=since) as beta:
            assert beta.welcome["recovered"] is True
            assert beta.welcome["cursor"] == since
            again = await beta.frames(3)
            assert await beta.sync() == []
            await post(hub, "beta", "five")
            assert await beta.texts(1) == ["five"]
    assert [(frame["text"], frame["attempt"]) for frame in again] == [
        ("two", 2),
        ("three", 2),
        ("four", 2),
    ]


async def test_a_cursor_never_skips_what_is_owed() -> None:
    async with running_hub() as hub:
        answer = await post(hub, "beta", "one", "two")
        newest = f"{answer['epoch']}:2"
        async with connected(hub, "beta", since=newest) as beta:
            assert beta.welcome["recovered"] is True
            assert await beta.texts(2) == ["one", "two"]


async def test_the_kept_ones_do_not_use_up_the_credit() -> None:
    async with running_hub() as hub:
        async with connected(hub, "beta", ack="manual") as beta:
            answer = await post(hub, "beta", "one", "two", "three")
            ids = [frame["id"] for frame in await beta.frames(3)]
            await beta.say({"type": "hub.ack", "ids": ids})
            await beta.sync()
        since = f"{answer['epoch']}:0"
        async with connected(hub, "beta", since=since, ack="manual", max_in_flight=1) as beta:
            await beta.texts(3)
            await post(hub, "beta", "four")
            assert await beta.texts(1) == ["four"]


@pytest.mark.parametrize("since", ["{epoch}:3", "0123456789abcdef:1"])
async def test_a_cursor_of_another_life_or_of_the_future_does_not_recover(since: str) -> None:
    async with running_hub() as hub:
        answer = await post(hub, "beta", "one", "two")
        cursor = since.format(epoch=answer["epoch"])
        async with connected(hub, "beta", since=cursor) as beta:
            assert beta.welcome["recovered"] is False
            assert await beta.texts(2) == ["one", "two"]


async def test_after_a_loss_the_welcome_does_not_say_recovered(clock: ManualClock) -> None:
    async with running_hub(clock=clock) as hub:
        answer = await post(hub, "beta", "seen")
        await post(hub, "beta", "lost", ttl=5)
        await clock.advance(10)
        async with connected(hub, "beta", since=f"{answer['epoch']}:1") as beta:
            assert beta.welcome["recovered"] is False


async def test_more_mail_than_one_batch_of_bytes_comes_whole_and_in_order() -> None:
    async with running_hub() as hub:
        big = "x" * 200_000
        await post(hub, "beta", *(f"{number}{big}" for number in range(20)))
        async with connected(hub, "beta") as beta:
            assert [text[:-200_000] for text in await beta.texts(20)] == list(map(str, range(20)))
