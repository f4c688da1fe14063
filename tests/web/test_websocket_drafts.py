"""What a client writes on its socket: messages, heartbeats, and what is wrong with others."""

from __future__ import annotations

from typing import Any

import pytest

from tests.clock import ManualClock
from tests.server import running_hub
from tests.web.peer import Frame, connected, look

REF = {"call": [1, "two", None]}


async def sent_by_frame(frame: Frame) -> tuple[Frame, list[Frame]]:
    """The answer to one frame of alpha, and what then lies in the inbox of beta."""
    async with running_hub() as hub, connected(hub, "alpha") as alpha:
        return await alpha.ask(frame), await look(hub, "beta")


async def test_an_accepted_draft_is_answered_as_by_rest_with_the_ref_of_the_client() -> None:
    async with running_hub() as hub, connected(hub, "alpha") as alpha, connected(hub, "beta"):
        answer = await alpha.send("beta", ref=REF)
    assert (answer["type"], answer["from"], answer["ref"]) == ("hub.accepted", "hub", REF)
    assert (answer["success"], answer["seq"], answer["durability"]) == (True, 1, "process")
    assert answer["message_id"].startswith("m_")
    assert answer["recipient"]["known"] is True
    assert answer["recipient"]["status"] == "active"
    assert {"epoch", "expires_at"} <= answer.keys()


@pytest.mark.parametrize("ref", [0, "", False, None, [], {}, 1.5, "☃", "x" * 1000])
async def test_a_ref_is_anything_and_comes_back_as_it_was(ref: Any) -> None:
    async with running_hub() as hub, connected(hub, "alpha") as alpha:
        assert (await alpha.send("beta", ref=ref))["ref"] == ref
        assert (await alpha.ask({"type": "message", "ref": ref}))["ref"] == ref


async def test_without_a_ref_the_answer_has_null_there() -> None:
    answer, _ = await sent_by_frame({"to": "beta", "text": "hello"})
    assert answer["ref"] is None


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        ({"message": "Hello"}, ("message", "Hello", {})),
        ({"text": "Hello"}, ("message", "Hello", {})),
        ({"payload": {"a": 1}}, ("message", "", {"a": 1})),
        ({"text": "Hello", "payload": {"a": 1}}, ("message", "Hello", {"a": 1})),
        ({"type": "ping"}, ("ping", "", {})),
        ({"type": "request", "message": "Hello"}, ("request", "Hello", {})),
        ({"type": "my.own_type-1", "text": "x"}, ("my.own_type-1", "x", {})),
        ({"type": "auth", "text": "x"}, ("auth", "x", {})),
        ({"type": "request", "message": {"type": "x"}}, ("request", "", {"type": "x"})),
    ],
)
async def test_content_and_type_follow_the_rules_of_a_draft(
    frame: Frame, expected: tuple[str, str, Frame]
) -> None:
    answer, [message] = await sent_by_frame({"to": "beta", **frame})
    assert answer["type"] == "hub.accepted"
    assert (message["type"], message["text"], message["payload"]) == expected


@pytest.mark.parametrize(
    ("inside", "shown"),
    [("task_proposal", "task_proposal"), ("User Story", "message"), ("hub.x", "message")],
)
async def test_an_object_without_a_type_beside_it_names_its_own_if_that_is_legal(
    inside: str, shown: str
) -> None:
    _, [message] = await sent_by_frame({"to": "beta", "message": {"type": inside, "n": 1}})
    assert (message["type"], message["payload"]) == (shown, {"type": inside, "n": 1})


@pytest.mark.parametrize(
    ("frame", "field"),
    [
        ({"type": "message", "text": "x"}, "/to"),
        ({"to": "a b", "text": "x"}, "/to"),
        ({"to": "hub", "text": "x"}, "/to"),
        ({"to": 7, "text": "x"}, "/to"),
        ({"to": "beta", "message": "x", "text": "y"}, "/message"),
        ({"to": "beta", "message": "x", "payload": {}}, "/message"),
        ({"to": "beta", "message": 7}, "/message"),
        ({"to": "beta", "message": None}, "/message"),
        ({"to": "beta", "text": 7}, "/text"),
        ({"to": "beta", "payload": "text"}, "/payload"),
        ({"to": "beta", "payload": [1]}, "/payload"),
        ({"to": "beta", "text": "x", "type": "User Story"}, "/type"),
        ({"to": "beta", "text": "x", "type": "hub.ack"}, "/type"),
        ({"to": "beta", "text": "x", "type": "hub.own"}, "/type"),
        ({"to": "beta", "text": "x", "type": "agent.joined"}, "/type"),
        ({"to": "beta", "text": "x", "type": ""}, "/type"),
        ({"to": "beta"}, "/message"),
        ({"to": "beta", "text": "x", "reply_to": "yesterday"}, "/reply_to"),
        ({"to": "beta", "text": "x", "ttl": 0}, "/ttl"),
        ({"to": "beta", "text": "x", "ttl": 700_000}, "/ttl"),
        ({"to": "beta", "text": "x", "ttl": "long"}, "/ttl"),
        ({"to": "beta", "text": "x", "wait": -1}, "/wait"),
        ({"to": "beta", "text": "x", "wait": 301}, "/wait"),
        ({"to": "ALL", "text": "x", "wait": 1}, "/wait"),
        ({"to": "beta", "text": "x", "traceparent": "00"}, "/traceparent"),
        ({"to": "beta", "text": "x", "idempotency_key": ""}, "/idempotency_key"),
        ({"to": "beta", "text": "x", "idempotency_key": "k" * 256}, "/idempotency_key"),
        ({"to": "beta", "text": "x", "from": "gamma"}, "/from"),
        ({"to": "beta", "text": "x", "colour": "red"}, "/colour"),
        ({"type": "heartbeat", "status": "asleep"}, "/status"),
        ({"type": "heartbeat", "status": "offline"}, "/status"),
    ],
)
async def test_a_fault_is_answered_by_an_error_frame_that_names_the_field(
    frame: Frame, field: str
) -> None:
    answer, mail = await sent_by_frame({"ref": 7, **frame})
    assert (answer["type"], answer["from"]) == ("hub.error", "hub")
    assert answer["problem"]["status"] == 422
    assert answer["problem"]["code"] == "invalid"
    assert [fault["pointer"] for fault in answer["problem"]["errors"]] == [field]
    assert answer["ref"] == 7, "a client finds the call that failed by its ref"
    assert mail == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "{",
        '{"to": "beta", "text": "x"',
        '{"to": "beta", "text": "x"} {}',
        '{"to": "beta", "to": "beta", "text": "x"}',
        '{"to": "beta", "payload": {"n": NaN}}',
        '{"to": "beta", "payload": {"n": 1e999}}',
        '{"to": "beta", "payload": {"a": 1, "a": 2}}',
        '{"to": "beta", "text": "\\ud800"}',
        '{"to": "beta", "payload": {"a": ' + "[" * 40 + "]" * 40 + "}}",
        "[" * 100_000,
    ],
)
async def test_what_is_not_strict_json_is_answered_by_an_error_frame(text: str) -> None:
    async with running_hub() as hub, connected(hub, "alpha") as alpha:
        answer = await alpha.ask(text)
        assert answer["problem"]["code"] == "malformed_json"
        assert answer["ref"] is None
        assert await look(hub, "beta") == []
        assert (await alpha.send("beta"))["type"] == "hub.accepted"


@pytest.mark.parametrize("text", ["[]", "7", '"text"', "null", "true"])
async def test_json_that_is_no_object_is_answered_by_an_error_frame(text: str) -> None:
    async with running_hub() as hub, connected(hub, "alpha") as alpha:
        assert (await alpha.ask(text))["problem"]["code"] == "invalid"


async def test_an_error_frame_has_the_problem_of_rest_with_the_id_of_the_upgrade() -> None:
    async with running_hub() as hub:
        headers = {"X-Request-Id": "mine"}
        async with hub.session.ws_connect("/ws/alpha", headers=headers) as socket:
            await socket.receive_json()
            await socket.send_json({"text": "to nobody"})
            problem = (await socket.receive_json())["problem"]
    assert {"type", "title", "status", "detail", "code", "retryable"} <= problem.keys()
    assert problem["request_id"] == "mine"


async def test_content_above_its_limit_is_refused_and_the_socket_goes_on() -> None:
    async with running_hub() as hub, connected(hub, "alpha") as alpha:
        answer = await alpha.send("beta", "x" * (256 * 1024 + 1))
        assert answer["problem"]["code"] == "content_too_large"
        answer = await alpha.send("beta", "x" * (256 * 1024))
        assert answer["type"] == "hub.accepted"


async def test_the_keys_of_older_frames_are_taken() -> None:
    older = {"id": 17, "timestamp": "2024-01-01T00:00:00Z", "from": "alpha", "payload": {}}
    answer, [message] = await sent_by_frame({"to": "beta", "text": "hi", "type": "chat", **older})
    assert (answer["type"], message["type"]) == ("hub.accepted", "chat")
    assert message["id"] != 17
    assert message["timestamp"] != older["timestamp"]


async def test_one_key_is_one_message_and_its_answer_says_that_it_was_given_before() -> None:
    async with running_hub() as hub, connected(hub, "alpha") as alpha:
        first = await alpha.send("beta", idempotency_key="k", ref=1)
        again = await alpha.send("beta", idempotency_key="k", ref=2)
        assert len(await look(hub, "beta")) == 1
    assert again == {**first, "ref": 2, "replayed": True}
    assert "replayed" not in first


async def test_one_key_with_other_content_is_refused() -> None:
    async with running_hub() as hub, connected(hub, "alpha") as alpha:
        await alpha.send("beta", "this", idempotency_key="k")
        answer = await alpha.send("beta", "that", idempotency_key="k")
    assert answer["problem"]["code"] == "idempotency_mismatch"


async def test_a_key_holds_at_every_door() -> None:
    async with running_hub() as hub, connected(hub, "alpha") as alpha:
        first = await alpha.send("beta", idempotency_key="k")
        body = {"from": "alpha", "to": "beta", "text": "hello"}
        async with hub.session.post(
            "/api/v1/messages", json=body, headers={"Idempotency-Key": "k"}
        ) as response:
            assert response.headers["Idempotency-Replayed"] == "true"
            assert (await response.json())["message_id"] == first["message_id"]


async def test_a_broadcast_is_answered_with_those_it_was_accepted_for() -> None:
    async with (
        running_hub() as hub,
        connected(hub, "alpha") as alpha,
        connected(hub, "beta") as beta,
        connected(hub, "gamma") as gamma,
    ):
        answer = await alpha.send("ALL", ref="b", idempotency_key="k")
        again = await alpha.send("ALL", ref="b", idempotency_key="k")
        assert [frame["id"] for frame in (await beta.next(), await gamma.next())] == (
            [answer["message_id"]] * 2
        )
        assert await beta.sync() == await gamma.sync() == []
    assert (answer["type"], answer["from"], answer["ref"]) == ("hub.accepted", "hub", "b")
    assert (answer["accepted_count"], sorted(answer["accepted"])) == (2, ["beta", "gamma"])
    assert answer["rejected"] == []
    assert (again["message_id"], again["replayed"]) == (answer["message_id"], True)


async def test_a_message_to_oneself_is_a_message() -> None:
    async with running_hub() as hub, connected(hub, "alpha") as alpha:
        await alpha.say({"to": "alpha", "text": "note"})
        frames = await alpha.frames(2)
    assert {frame["type"] for frame in frames} == {"hub.accepted", "message"}


async def test_frames_are_answered_in_their_order() -> None:
    async with running_hub() as hub, connected(hub, "alpha") as alpha:
        for number in range(50):
            await alpha.say({"to": "beta" if number % 2 else "?", "text": "x", "ref": number})
        assert [frame["ref"] for frame in await alpha.frames(50)] == list(range(50))


async def test_a_heartbeat_is_not_answered_and_sets_the_status(clock: ManualClock) -> None:
    async with running_hub(clock=clock) as hub, connected(hub, "beta") as beta:
        clock.step_wall(5)
        await beta.say({"type": "heartbeat", "status": "busy"})
        assert await beta.sync() == []
        async with hub.session.get("/api/v1/agents/beta") as response:
            agent = await response.json()
        assert agent["status"] == "busy"
        assert agent["last_heartbeat"] > agent["registered_at"]


async def test_a_heartbeat_is_control_even_with_a_recipient() -> None:
    async with running_hub() as hub, connected(hub, "alpha") as alpha:
        await alpha.say({"type": "heartbeat", "to": "beta", "text": "x"})
        assert await alpha.sync() == []
        assert await look(hub, "beta") == []


async def test_a_draft_of_an_agent_nobody_registered_names_similar_ones() -> None:
    async with running_hub() as hub, connected(hub, "alpha") as alpha, connected(hub, "bravo-1"):
        answer = await alpha.send("bravo-2")
    assert answer["recipient"]["known"] is False
    assert answer["recipient"]["did_you_mean"] == ["bravo-1"]


async def test_a_full_inbox_is_refused_in_a_frame_that_says_when_to_come_back() -> None:
    async with running_hub() as hub, connected(hub, "alpha") as alpha:
        for _ in range(500):
            await alpha.say({"to": "beta", "text": "x"})
        assert {frame["type"] for frame in await alpha.frames(500)} == {"hub.accepted"}
        problem = (await alpha.send("beta"))["problem"]
    assert (problem["code"], problem["status"]) == ("sender_share", 429)
    assert problem["retryable"] is True
    assert problem["retry_after"] > 0
