"""Messages over REST: each call with exactly the shapes that it promises."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agent_hub.core.agent import GRACE_SECONDS
from tests.clock import ManualClock
from tests.core.calls import away
from tests.server import RunningHub
from tests.web.caller import MESSAGES, Caller
from tests.web.waiting import until

NOW = "2027-01-15T08:00:00.000Z"
IN_FIVE_MINUTES = "2027-01-15T08:05:00.000Z"


async def asking(rest: Caller, served: RunningHub, **body: Any) -> asyncio.Task[Any]:
    """A question on its way; returns once its wait stands."""
    before = served.hub.open_waits
    caller = Caller(rest.session)
    task = asyncio.create_task(caller.post(MESSAGES, {"wait": 60, **body}, status=202))
    await until(lambda: served.hub.open_waits > before)
    return task


# --- sending ------------------------------------------------------------------------------


async def test_an_accepted_message_answers_with_its_place_and_its_recipient(
    rest: Caller, clock: ManualClock
) -> None:
    await rest.register("alpha")
    clock.pass_by(GRACE_SECONDS + 1)
    clock.step_wall(-GRACE_SECONDS - 1)
    told = await rest.send("beta", "alpha")
    assert told.pop("message_id").startswith("m_")
    assert len(told.pop("epoch")) == 16
    assert told == {
        "success": True,
        "seq": 1,
        "expires_at": IN_FIVE_MINUTES,
        "durability": "process",
        "recipient": {"agent_id": "alpha", "status": "active", "last_seen": NOW, "known": True},
    }
    again = await rest.send("beta", "alpha")
    assert again["seq"] == 2


async def test_a_message_to_an_unknown_agent_is_accepted_and_says_so(rest: Caller) -> None:
    await rest.register("alpha-01RXGe86")
    told = await rest.send("beta", "alpha-01RXGe8")
    assert told["recipient"] == {
        "agent_id": "alpha-01RXGe8",
        "status": "offline",
        "last_seen": None,
        "known": False,
        "did_you_mean": ["alpha-01RXGe86"],
    }
    assert "did_you_mean" not in (await rest.send("beta", "zzz"))["recipient"]


@pytest.mark.parametrize(
    ("draft", "shown"),
    [
        ({"message": "Hello"}, ("message", "Hello", {})),
        ({"message": ""}, ("message", "", {})),
        (
            {"message": {"type": "task_proposal", "task": "review"}},
            ("task_proposal", "", {"type": "task_proposal", "task": "review"}),
        ),
        ({"message": {"type": "User Story"}}, ("message", "", {"type": "User Story"})),
        ({"message": {"type": "hub.notice"}}, ("message", "", {"type": "hub.notice"})),
        ({"message": {"type": 7}}, ("message", "", {"type": 7})),
        ({"message": {"type": "a"}, "type": "b"}, ("b", "", {"type": "a"})),
        ({"message": {}}, ("message", "", {})),
        ({"text": "Hello"}, ("message", "Hello", {})),
        ({"payload": {"a": [1, None]}}, ("message", "", {"a": [1, None]})),
        ({"text": "Hello", "payload": {"a": 1}, "type": "x.y"}, ("x.y", "Hello", {"a": 1})),
        ({"type": "ping"}, ("ping", "", {})),
        ({"text": "\u0000\u202e\U0001f600"}, ("message", "\u0000\u202e\U0001f600", {})),
        ({"payload": {"": 10**300, "b": 1e-5}}, ("message", "", {"": 10**300, "b": 1e-5})),
    ],
)
async def test_what_a_draft_says_is_what_its_reader_sees(
    rest: Caller, draft: dict[str, Any], shown: tuple[str, str, dict[str, Any]]
) -> None:
    sent = await rest.post(MESSAGES, {"from": "beta", "to": "alpha", **draft}, status=202)
    [message] = (await rest.receive("alpha"))["messages"]
    kind, text, payload = shown
    assert message == {
        "id": sent["message_id"],
        "seq": 1,
        "from": "beta",
        "to": "alpha",
        "type": kind,
        "text": text,
        "payload": payload,
        "reply_to": None,
        "timestamp": NOW,
        "expires_at": IN_FIVE_MINUTES,
        "attempt": 1,
        "cursor": f"{sent['epoch']}:1",
    }


async def test_a_reply_names_its_question_and_a_trace_context_travels(rest: Caller) -> None:
    question = (await rest.send("alpha", "beta"))["message_id"]
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    body = {"from": "beta", "to": "alpha", "text": "yes", "reply_to": question, "ttl": 60}
    await rest.post(MESSAGES, body, status=202, headers={"traceparent": trace})
    await rest.post(MESSAGES, body, status=202, headers={"traceparent": "nonsense"})
    first, second = (await rest.receive("alpha"))["messages"]
    assert first["reply_to"] == question
    assert first["traceparent"] == trace
    assert first["expires_at"] == "2027-01-15T08:01:00.000Z"
    assert "traceparent" not in second


async def test_a_broadcast_reaches_all_registered_but_its_sender(rest: Caller) -> None:
    for agent_id in ("alpha", "beta", "gamma"):
        await rest.register(agent_id)
    told = await rest.send("beta", "ALL")
    message_id = told["message_id"]
    assert told == {
        "success": True,
        "message_id": message_id,
        "expires_at": IN_FIVE_MINUTES,
        "durability": "process",
        "accepted_count": 2,
        "accepted": ["alpha", "gamma"],
        "rejected": [],
    }
    [copy] = (await rest.receive("gamma"))["messages"]
    assert (copy["id"], copy["to"], copy["broadcast"]) == (message_id, "gamma", True)
    assert (await rest.look("beta"))["total"] == 0
    assert await rest.standing("beta", message_id) == {"alpha": "ready", "gamma": "acked"}


async def test_a_broadcast_to_nobody_is_accepted(rest: Caller) -> None:
    told = await rest.send("beta", "ALL")
    assert (told["accepted_count"], told["accepted"], told["rejected"]) == (0, [], [])


async def test_a_broadcast_names_the_full_inboxes(rest: Caller) -> None:
    for agent_id in ("alpha", "gamma"):
        await rest.register(agent_id)
    for _ in range(500):
        await rest.send("beta", "alpha", "")
    told = await rest.send("beta", "ALL")
    assert told["accepted"] == ["gamma"]
    assert told["rejected"] == [{"agent_id": "alpha", "code": "sender_share"}]


async def test_the_same_key_gets_the_same_answer_and_one_message(
    rest: Caller, clock: ManualClock
) -> None:
    first = await rest.send("beta", "alpha", key="k 1")
    assert "Idempotency-Replayed" not in rest.headers
    clock.pass_by(5)
    second = await rest.send("beta", "alpha", key="k 1")
    assert rest.headers["Idempotency-Replayed"] == "true"
    assert second == first
    assert (await rest.look("alpha"))["total"] == 1
    await rest.send("beta", "gamma", key="k 1")
    assert "Idempotency-Replayed" not in rest.headers


async def test_a_key_with_other_content_is_refused(rest: Caller) -> None:
    await rest.send("beta", "alpha", key="k")
    body = {"from": "beta", "to": "alpha", "text": "other"}
    told = await rest.post(MESSAGES, body, status=422, headers={"Idempotency-Key": "k"})
    assert told["code"] == "idempotency_mismatch"
    assert told["retryable"] is False
    assert (await rest.look("alpha"))["total"] == 1


async def test_a_repeated_broadcast_fills_only_the_gaps(rest: Caller) -> None:
    await rest.register("alpha")
    first = await rest.send("beta", "ALL", key="k")
    await rest.register("gamma")
    second = await rest.send("beta", "ALL", key="k")
    assert rest.headers["Idempotency-Replayed"] == "true"
    assert second["message_id"] == first["message_id"]
    for agent_id in ("alpha", "gamma"):
        assert (await rest.look(agent_id))["total"] == 1


# --- asking -------------------------------------------------------------------------------


async def test_a_question_is_answered_by_its_reply(rest: Caller, served: RunningHub) -> None:
    task = await asking(rest, served, **{"from": "beta", "to": "alpha", "text": "ready?"})
    [question] = (await rest.receive("alpha"))["messages"]
    reply = await rest.send("alpha", "beta", "yes", reply_to=question["id"])
    told = await task
    assert told["status"] == "replied"
    assert told["message_id"] == question["id"]
    assert told["reply"]["id"] == reply["message_id"]
    assert told["reply"]["text"] == "yes"
    assert told["cursor"] == told["reply"]["cursor"]
    assert await rest.standing("alpha", reply["message_id"]) == {"beta": "acked"}
    assert served.hub.open_waits == 0


async def test_an_unanswered_question_is_pending_and_its_reply_comes_as_mail(
    rest: Caller, served: RunningHub, clock: ManualClock
) -> None:
    task = await asking(rest, served, **{"from": "beta", "to": "alpha", "text": "ready?"})
    await clock.advance(60)
    told = await task
    assert (told["status"], told["reply"]) == ("pending", None)
    assert (await rest.look("beta", since=told["cursor"]))["recovered"] is True
    late = await rest.send("alpha", "beta", "yes", reply_to=told["message_id"])
    assert [m["id"] for m in (await rest.receive("beta"))["messages"]] == [late["message_id"]]


async def test_a_store_that_is_away_at_the_end_of_a_wait_makes_no_refusal_of_it(
    rest: Caller, served: RunningHub, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = await asking(rest, served, **{"from": "beta", "to": "alpha", "text": "ready?"})
    with monkeypatch.context() as broken:
        for call in ("wait", "look"):
            broken.setattr(served.hub._backend, call, away)
        await clock.advance(60)
        told = await task
    assert (told["status"], told["reply"], told["cursor"]) == ("pending", None, None)
    assert await rest.standing("beta", told["message_id"]) == {"alpha": "ready"}


async def test_two_that_ask_each_other_do_not_wait_for_ever(
    rest: Caller, served: RunningHub
) -> None:
    first = await asking(rest, served, **{"from": "beta", "to": "alpha", "text": "you first"})
    second = await asking(rest, served, **{"from": "alpha", "to": "beta", "text": "no, you"})
    told = await first
    assert told["status"] == "crossed"
    assert told["reply"]["text"] == "no, you"
    await rest.send("beta", "alpha", "fine", reply_to=told["reply"]["id"])
    assert (await second)["reply"]["text"] == "fine"


async def test_a_question_without_patience_is_an_answer_at_once(rest: Caller) -> None:
    told = await rest.send("beta", "alpha", wait=0)
    assert told["status"] == "pending"


async def test_a_question_under_the_same_key_attaches_and_gets_the_reply_again(
    rest: Caller, served: RunningHub
) -> None:
    question = {"from": "beta", "to": "alpha", "text": "ready?", "wait": 60}
    key = {"Idempotency-Key": "q"}
    caller = Caller(rest.session)
    task = asyncio.create_task(caller.post(MESSAGES, question, status=202, headers=key))
    await until(lambda: served.hub.open_waits == 1)
    await rest.send("alpha", "beta", "yes")
    first = await task
    again = await rest.post(MESSAGES, question, status=202, headers=key)
    assert rest.headers["Idempotency-Replayed"] == "true"
    assert again["message_id"] == first["message_id"]
    assert again["reply"]["text"] == "yes"
    assert (await rest.look("alpha"))["total"] == 1


# --- looking ------------------------------------------------------------------------------


async def test_a_look_shows_oldest_first_and_changes_nothing(rest: Caller) -> None:
    sent = [await rest.send("beta", "alpha", str(n)) for n in range(3)]
    await rest.receive("alpha", limit=1, ack="manual")
    for _ in range(2):
        page = await rest.look("alpha", limit=2)
        assert set(page) == {"messages", "total", "cursor", "recovered"}
        assert page["total"] == 3
        assert [m["state"] for m in page["messages"]] == ["leased", "ready"]
        assert [m["attempt"] for m in page["messages"]] == [1, 0]
        assert page["cursor"] == page["messages"][-1]["cursor"] == f"{sent[0]['epoch']}:2"


async def test_a_look_at_an_unknown_inbox_is_empty_and_creates_nothing(
    rest: Caller, served: RunningHub
) -> None:
    assert await rest.look("nobody") == {
        "messages": [],
        "total": 0,
        "cursor": None,
        "recovered": False,
    }
    assert (await served.hub.totals()).inboxes == 0


async def test_a_cursor_shows_the_kept_messages_newer_than_it(rest: Caller) -> None:
    for n in range(4):
        await rest.send("beta", "alpha", str(n))
    taken = await rest.receive("alpha", limit=3)
    since = taken["messages"][0]["cursor"]
    page = await rest.look("alpha", since=since)
    assert [(m["text"], m["state"]) for m in page["messages"]] == [
        ("1", "acked"),
        ("2", "acked"),
        ("3", "ready"),
    ]
    assert page["recovered"] is True
    assert (await rest.look("alpha"))["total"] == 1


async def test_a_cursor_of_another_life_is_not_recovered_and_hides_nothing(rest: Caller) -> None:
    await rest.send("beta", "alpha")
    page = await rest.look("alpha", since="0123456789abcdef:7")
    assert page["recovered"] is False
    assert page["total"] == 1


async def test_a_look_waits_until_there_is_something(rest: Caller, clock: ManualClock) -> None:
    before = clock.pending
    task = asyncio.create_task(Caller(rest.session).look("alpha", wait=50))
    await until(lambda: clock.pending > before)
    await rest.send("beta", "alpha")
    assert (await task)["total"] == 1


async def test_a_look_that_waits_in_vain_is_empty(rest: Caller, clock: ManualClock) -> None:
    before = clock.pending
    task = asyncio.create_task(Caller(rest.session).look("alpha", wait=50))
    await until(lambda: clock.pending > before)
    await clock.advance(50)
    assert (await task)["messages"] == []


# --- taking and settling ------------------------------------------------------------------


async def test_receive_acks_by_itself_once_the_answer_is_written(rest: Caller) -> None:
    sent = await rest.send("beta", "alpha")
    taken = await rest.receive("alpha")
    assert set(taken) == {"messages", "lease_id", "cursor"}
    assert taken["cursor"] == taken["messages"][0]["cursor"]
    assert await rest.standing("beta", sent["message_id"]) == {"alpha": "acked"}
    empty = await rest.receive("alpha")
    assert empty["messages"] == []
    assert empty["cursor"] == taken["cursor"]


async def test_receive_waits_for_a_message(rest: Caller, clock: ManualClock) -> None:
    before = clock.pending
    task = asyncio.create_task(Caller(rest.session).receive("alpha", wait=50))
    await until(lambda: clock.pending > before)
    sent = await rest.send("beta", "alpha")
    assert [m["id"] for m in (await task)["messages"]] == [sent["message_id"]]


async def test_what_is_taken_by_hand_is_acked_by_hand(rest: Caller) -> None:
    sent = await rest.send("beta", "alpha")
    taken = await rest.receive("alpha", ack="manual")
    [message] = taken["messages"]
    assert await rest.standing("beta", sent["message_id"]) == {"alpha": "leased"}
    assert (await rest.receive("alpha"))["messages"] == []
    told = await rest.ack("alpha", ids=[message["id"], "m_unknown"])
    assert told == {"acked": 1, "released": 0, "extended": 0}
    assert await rest.ack("alpha", ids=[message["id"]]) == {
        "acked": 0,
        "released": 0,
        "extended": 0,
    }


async def test_released_mail_comes_again_marked(rest: Caller) -> None:
    await rest.send("beta", "alpha")
    taken = await rest.receive("alpha", ack="manual")
    [message] = taken["messages"]
    stranger = await rest.ack("alpha", release=[message["id"]], lease_id="somebody-else")
    assert stranger["released"] == 0
    told = await rest.ack("alpha", release=[message["id"]], lease_id=taken["lease_id"])
    assert told == {"acked": 0, "released": 1, "extended": 0}
    [again] = (await rest.receive("alpha"))["messages"]
    assert (again["id"], again["attempt"]) == (message["id"], 2)


async def test_an_extended_lease_outlives_its_first_term(rest: Caller, clock: ManualClock) -> None:
    sent = await rest.send("beta", "alpha")
    taken = await rest.receive("alpha", ack="manual", lease=10)
    ids = [sent["message_id"]]
    await clock.advance(9)
    told = await rest.ack("alpha", extend=ids, lease_id=taken["lease_id"], lease=100)
    assert told == {"acked": 0, "released": 0, "extended": 1}
    await clock.advance(99)
    assert (await rest.receive("alpha"))["messages"] == []
    await clock.advance(2)
    [again] = (await rest.receive("alpha"))["messages"]
    assert again["attempt"] == 2


async def test_an_ack_counts_even_when_it_is_late(rest: Caller, clock: ManualClock) -> None:
    sent = await rest.send("beta", "alpha")
    await rest.receive("alpha", ack="manual", lease=1)
    await clock.advance(5)
    assert (await rest.ack("alpha", ids=[sent["message_id"]]))["acked"] == 1
    assert (await rest.look("alpha"))["total"] == 0


# --- where a message stands ---------------------------------------------------------------


async def test_a_standing_tells_state_times_and_attempts(rest: Caller, clock: ManualClock) -> None:
    sent = await rest.send("beta", "alpha")
    clock.pass_by(1)
    await rest.receive("alpha")
    told = await rest.get(f"{MESSAGES}/{sent['message_id']}", agent_id="beta")
    assert told == {
        "message_id": sent["message_id"],
        "recipients": [
            {
                "agent_id": "alpha",
                "state": "acked",
                "since": "2027-01-15T08:00:01.000Z",
                "accepted_at": NOW,
                "expires_at": IN_FIVE_MINUTES,
                "attempts": 1,
            }
        ],
    }
    assert await rest.standing("alpha", sent["message_id"]) == {"alpha": "acked"}


async def test_nobody_else_learns_where_a_message_stands(rest: Caller) -> None:
    sent = await rest.send("beta", "alpha")
    for agent_id, message_id in (("gamma", sent["message_id"]), ("beta", "m_none")):
        told = await rest.get(f"{MESSAGES}/{message_id}", status=404, agent_id=agent_id)
        assert told["code"] == "not_found"


async def test_a_message_that_expires_unread_is_noticed_by_its_sender_once(
    rest: Caller, clock: ManualClock
) -> None:
    sent = await rest.send("beta", "alpha", ttl=60)
    await clock.advance(61)
    assert await rest.standing("beta", sent["message_id"]) == {"alpha": "expired"}
    assert (await rest.receive("alpha"))["messages"] == []
    [notice] = (await rest.receive("beta"))["messages"]
    assert (notice["type"], notice["from"]) == ("hub.undelivered", "hub")
    assert notice["payload"] == {
        "recipient": "alpha",
        "count": 1,
        "message_ids": [sent["message_id"]],
        "reasons": {"expired": 1},
    }
    await clock.advance(61)
    assert (await rest.receive("beta"))["messages"] == []


async def test_a_message_given_back_too_often_is_dead_and_noticed(
    rest: Caller, clock: ManualClock
) -> None:
    sent = await rest.send("beta", "alpha")
    for _ in range(6):
        taken = await rest.receive("alpha", ack="manual")
        await rest.ack("alpha", release=[sent["message_id"]], lease_id=taken["lease_id"])
    await clock.advance(1)
    assert await rest.standing("beta", sent["message_id"]) == {"alpha": "dead"}
    [notice] = (await rest.receive("beta"))["messages"]
    assert notice["payload"]["reasons"] == {"dead": 1}
