"""What the five tools are and say, and how they refuse."""

from __future__ import annotations

import json
from typing import Any

import pytest
from mcp.shared.exceptions import MCPError

from agent_hub.core.clock import Clock
from agent_hub.core.mail import Receipt, Submission
from agent_hub.queue_backends.memory import MemoryBackend
from tests.clock import ManualClock
from tests.core.calls import away
from tests.mcp.door import Ide, ide
from tests.server import RunningHub, running_hub
from tests.web.caller import Caller

NAMES = [
    "checkin_client",
    "send_message",
    "send_message_and_wait",
    "get_messages",
    "get_my_identity",
]


async def listed(one: Ide) -> list[dict[str, Any]]:
    tools = (await one.client.list_tools()).tools
    return [tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in tools]


async def test_there_are_five_tools_with_their_parameters(alpha: Ide) -> None:
    tools = await listed(alpha)
    assert [tool["name"] for tool in tools] == NAMES
    assert [list(tool["inputSchema"]["properties"]) for tool in tools] == [
        ["client_id", "name", "capabilities"],
        ["sender_id", "recipient_id", "message", "reply_to", "ttl", "idempotency_key"],
        ["sender_id", "recipient_id", "message", "timeout", "reply_to", "idempotency_key"],
        ["client_id", "since", "wait"],
        [],
    ]


async def test_their_schemas_are_small_enough_for_a_models_context(alpha: Ide) -> None:
    def size(*keys: str) -> int:
        shown = ({key: tool[key] for key in keys} for tool in tools)
        return sum(len(json.dumps(one, separators=(",", ":")).encode()) for one in shown)

    tools = await listed(alpha)
    assert size("name", "description", "inputSchema") < 4_500
    assert size("outputSchema") < 3_000


async def test_each_tool_says_what_it_does_to_the_world(alpha: Ide) -> None:
    hints = {tool["name"]: tool["annotations"] for tool in await listed(alpha)}
    assert hints["get_my_identity"]["readOnlyHint"] is True
    assert [name for name in NAMES if hints[name].get("idempotentHint")] == [
        "checkin_client",
        "get_my_identity",
    ]
    assert [name for name in NAMES if hints[name]["openWorldHint"]] == NAMES[:4]
    assert not any(hints[name].get("destructiveHint") for name in NAMES)


async def test_who_checks_in_is_told_who_else_is_here(rest: Caller, alpha: Ide) -> None:
    await rest.register("beta", name="Beta\u2019s editor", capabilities=["review"])
    told = await alpha.call(
        "checkin_client", client_id="alpha", name="Alpha", capabilities="code, review,, code"
    )
    assert [peer["agent_id"] for peer in told["peers"]] == ["beta"]
    assert (await rest.get("/api/v1/agents/alpha"))["capabilities"] == ["code", "review"]
    text = await alpha.text("checkin_client", client_id="alpha", name="Alpha")
    assert '- `beta` "Beta\u2019s editor", active: review' in text


async def test_capabilities_are_cut_and_never_refused(rest: Caller, alpha: Ide) -> None:
    given = ", ".join(f"{n}\u202e\x1b[31m" + "x" * 100 for n in range(100))
    await alpha.call("checkin_client", client_id="alpha", name="Alpha", capabilities=given)
    shown = (await rest.get("/api/v1/agents/alpha"))["capabilities"]
    assert len(shown) == 64
    assert {len(one) for one in shown} == {64}
    assert shown[0] == "0" + "x" * 63


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (["code", "review"], ["code", "review"]),
        ({"code": True, "review": "often"}, ["code", "review"]),
        (["code", 7, None, {"review": True}], ["code"]),
        (7, []),
        (None, []),
    ],
)
async def test_capabilities_of_any_shape_are_taken_for_what_they_name(
    rest: Caller, alpha: Ide, given: Any, shown: list[str]
) -> None:
    await alpha.call("checkin_client", client_id="alpha", name="Alpha", capabilities=given)
    assert (await rest.get("/api/v1/agents/alpha"))["capabilities"] == shown


@pytest.mark.parametrize("nothing", [None, ""])
async def test_what_may_be_left_out_may_be_null_or_empty(
    rest: Caller, alpha: Ide, nothing: str | None
) -> None:
    optional = dict.fromkeys(["reply_to", "idempotency_key"], nothing)
    sent = await alpha.send("alpha", "beta", ttl=nothing, **optional)
    [message] = (await rest.receive("beta"))["messages"]
    assert (message["id"], message["reply_to"]) == (sent["message_id"], None)
    assert await alpha.read("alpha", since=nothing, wait=nothing) == []


async def test_who_it_is_may_be_asked_with_a_parameter_that_a_client_made_up(alpha: Ide) -> None:
    told = await alpha.call("get_my_identity", random_string="x")
    assert told["file"] == "mcp_recipients.json"


async def test_a_sender_hears_whether_its_recipient_can_be_reached(
    rest: Caller, alpha: Ide, clock: ManualClock
) -> None:
    async def said(to: str) -> str:
        return await alpha.text("send_message", sender_id="alpha", recipient_id=to, message="hi")

    await rest.register("beta")
    assert "kept for 5 min until it is read. `beta` is active." in await said("beta")
    assert "Nobody has checked in as `betta` yet" in await said("betta")
    assert "Did you mean `beta`?" in await said("betta")
    await clock.advance(120)
    assert "`beta` is offline, last seen 2 min ago." in await said("beta")


async def test_an_object_is_a_payload_and_a_number_may_stand_in_quotes(
    rest: Caller, alpha: Ide
) -> None:
    await alpha.send("alpha", "beta", {"type": "task_proposal", "task": "review"}, ttl="60")  # type: ignore[arg-type]
    [message] = (await rest.receive("beta"))["messages"]
    assert (message["type"], message["payload"]["task"]) == ("task_proposal", "review")


async def test_a_retry_with_the_same_key_is_accepted_once(rest: Caller, alpha: Ide) -> None:
    first = await alpha.send("alpha", "beta", idempotency_key="k1")
    again = await alpha.send("alpha", "beta", idempotency_key="k1")
    assert again["message_id"] == first["message_id"]
    assert (await rest.look("beta"))["total"] == 1


async def test_every_result_says_when_mail_waits(rest: Caller, alpha: Ide) -> None:
    await rest.send("gamma", "alpha")
    await rest.send("gamma", "alpha")
    text = await alpha.text("send_message", sender_id="alpha", recipient_id="beta", message="hi")
    assert text.endswith("\n\n2 unread messages from gamma: call get_messages.")


async def test_what_was_accepted_before_the_store_went_away_is_told_so(
    rest: Caller, served: RunningHub, alpha: Ide, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(served.hub._backend, "look", away)
        sent = await alpha.send("alpha", "beta")
    assert (sent["success"], sent["unread"]) == (True, 0)
    assert await rest.standing("alpha", sent["message_id"]) == {"beta": "ready"}


async def test_who_asks_who_it_is_is_sent_to_the_file(served: RunningHub, alpha: Ide) -> None:
    told = await alpha.call("get_my_identity")
    assert told["file"] == "mcp_recipients.json"
    assert told["example"]["server_info"]["url"] == f"{served.url}/mcp/"


@pytest.mark.parametrize(
    ("arguments", "pointer"),
    [
        ({"recipient_id": "beta", "message": "hi"}, "/sender_id"),
        ({"sender_id": "no spaces", "recipient_id": "beta", "message": "hi"}, "/sender_id"),
        ({"sender_id": "alpha", "recipient_id": "hub", "message": "hi"}, "/recipient_id"),
        ({"sender_id": "alpha", "recipient_id": "beta", "message": 1}, "/message"),
        ({"sender_id": "alpha", "recipient_id": "beta", "message": "", "ttl": -1}, "/ttl"),
        ({"sender_id": "alpha", "recipient_id": "beta", "message": "", "mood": 1}, "/mood"),
        ({"sender_id": "", "recipient_id": "beta", "message": "hi"}, "/sender_id"),
        ({"sender_id": None, "recipient_id": "beta", "message": "hi"}, "/sender_id"),
        (
            {"sender_id": "alpha", "recipient_id": "beta", "message": "", "reply_to": "that"},
            "/reply_to",
        ),
    ],
)
async def test_what_a_model_gets_wrong_is_named_in_its_own_words(
    alpha: Ide, arguments: dict[str, Any], pointer: str
) -> None:
    told = await alpha.refused("send_message", **arguments)
    assert (told["code"], told["status"], told["retryable"]) == ("invalid", 422, False)
    assert [fault["pointer"] for fault in told["errors"]] == [pointer]
    assert told["request_id"]


async def test_a_content_that_is_too_large_is_refused(alpha: Ide) -> None:
    told = await alpha.refused(
        "send_message", sender_id="alpha", recipient_id="beta", message="x" * 300_000
    )
    assert told["code"] == "content_too_large"


async def test_a_sixth_tool_is_a_protocol_error(alpha: Ide) -> None:
    with pytest.raises(MCPError, match="Unknown tool: delete_everything"):
        await alpha.result("delete_everything")


async def test_tool_calls_draw_on_the_same_limit_as_every_door(
    clock: ManualClock, era: str
) -> None:
    async with running_hub(clock=clock, rate_limit=1, rate_burst=3) as hub, ide(hub, era) as alpha:
        rest = Caller(hub.session)
        await alpha.send("alpha", "beta")
        await rest.send("alpha", "beta")
        await alpha.read("alpha")
        told = await alpha.refused("get_messages", client_id="alpha")
        assert (told["code"], told["retryable"], told["retry_after"]) == ("rate_limited", True, 1.0)
        assert (await rest.look("beta"))["total"] == 2


class Elsewhere(MemoryBackend):
    """A store that has the time from another machine, as Redis has."""

    def clock_of(self, clock: Clock) -> Clock:
        return self._clock


async def test_a_span_is_told_by_the_clock_of_the_store(clock: ManualClock) -> None:
    other = ManualClock()
    other.step_wall(-7_200)
    backend = Elsewhere(other)
    async with running_hub(clock=clock, backend=backend) as hub, ide(hub) as alpha:
        sent = await alpha.text(
            "send_message", sender_id="alpha", recipient_id="alpha", message="hello"
        )
        assert "kept for 5 min" in sent
        looked = await alpha.client.read_resource("inbox://alpha")
        assert "just now" in str(looked.contents)
        other.pass_by(120)
        assert "2 min ago" in await alpha.text("get_messages", client_id="alpha")


async def test_what_was_accepted_before_and_is_over_is_not_said_to_be_kept(
    alpha: Ide, clock: ManualClock
) -> None:
    again = {"sender_id": "alpha", "recipient_id": "beta", "message": "x", "idempotency_key": "k"}
    await alpha.text("send_message", **again, ttl=10)
    clock.pass_by(60)
    said = await alpha.text("send_message", **again, ttl=10)
    assert "Accepted before as" in said
    assert "its time was over 50 s ago" in said
    assert "kept for" not in said
    assert "waits" not in said


class Slow(MemoryBackend):
    """A store that takes its time for a send."""

    async def send(self, submission: Submission) -> Receipt:
        receipt = await super().send(submission)
        assert isinstance(self._clock, ManualClock)
        self._clock.pass_by(5)
        return receipt


async def test_of_a_new_message_that_is_over_already_no_key_is_told(clock: ManualClock) -> None:
    async with running_hub(clock=clock, backend=Slow(clock)) as hub, ide(hub) as alpha:
        draft = {"sender_id": "alpha", "recipient_id": "beta", "message": "x"}
        said = await alpha.text("send_message", **draft, ttl=2)
        assert "its time was over 3 s ago" in said
        assert "key" not in said
