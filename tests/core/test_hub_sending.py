"""Sending and broadcasting through the hub: what is refused, what is answered, what is counted."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Collection
from difflib import get_close_matches
from typing import Any

import pytest

from agent_hub.core import similar
from agent_hub.core.agent import Agent, Status
from agent_hub.core.errors import (
    BackendUnavailable,
    ContentTooLarge,
    Draining,
    Forbidden,
    HubError,
    IdempotencyMismatch,
    Invalid,
    SenderShare,
)
from agent_hub.core.hub import Hub
from agent_hub.core.mail import State
from agent_hub.core.message import is_message_id, new_message_id
from agent_hub.core.principal import ORDINARY, Principal
from agent_hub.core.queue_backend import QueueBackend
from agent_hub.core.sending import BROADCAST_SLICE
from agent_hub.core.similar import COMPARED, COMPARED_CLOSELY
from agent_hub.core.trail import TRAIL
from tests.clock import ManualClock, settle
from tests.core.calls import (
    ANYONE,
    Counted,
    broadcast,
    cancel,
    draft,
    receive,
    register,
    send,
    texts,
)
from tests.core.conftest import OpenHub

KEY = {"idempotency_key": "k"}


async def away(*_args: object, **_more: object) -> Any:
    raise BackendUnavailable("the store is away", retry_after=1)


async def test_a_message_is_accepted_and_delivered(hub: Hub, clock: ManualClock) -> None:
    sent = await send(hub, "Hello", payload=b'{"a":1}', type="request")
    assert is_message_id(sent.receipt.message_id)
    assert sent.receipt.seq == 1
    assert sent.receipt.expires_at == clock.time() + 300
    assert not sent.replayed
    [delivery] = (await receive(hub)).deliveries
    message = delivery.message
    assert (message.id, message.sender, message.to) == (sent.receipt.message_id, "beta", "alpha")
    assert (message.type, message.text, message.payload) == ("request", "Hello", b'{"a":1}')


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"sender": "ALL"}, "/from"),
        ({"sender": ""}, "/from"),
        ({"to": "hub"}, "/to"),
        ({"to": "a b"}, "/to"),
        ({"type": "User Story"}, "/type"),
        ({"type": "hub.undelivered"}, "/type"),
        ({"type": "agent.joined"}, "/type"),
        ({"ttl": 0.0}, "/ttl"),
        ({"ttl": -1.0}, "/ttl"),
        ({"ttl": 7 * 24 * 3_600.0 + 1}, "/ttl"),
        ({"ttl": float("nan")}, "/ttl"),
        ({"ttl": float("inf")}, "/ttl"),
        ({"reply_to": "m_short"}, "/reply_to"),
        ({"traceparent": "nonsense"}, "/traceparent"),
        ({"idempotency_key": ""}, "/idempotency_key"),
        ({"idempotency_key": "x" * 256}, "/idempotency_key"),
        ({"idempotency_key": "a\nb"}, "/idempotency_key"),
    ],
)
async def test_a_faulty_draft_is_refused_by_the_name_of_its_field(
    hub: Hub, fields: dict[str, Any], pointer: str
) -> None:
    with pytest.raises(Invalid) as refused:
        await send(hub, **fields)
    assert [fault.pointer for fault in refused.value.faults] == [pointer]
    assert (await hub.totals()).inboxes == 0


@pytest.mark.parametrize(
    "fields",
    [
        {"ttl": 0.001},
        {"ttl": 7 * 24 * 3_600.0},
        {"type": "x" * 64},
        {"reply_to": new_message_id()},
        {"idempotency_key": "é" * 255},
        {"traceparent": "00-" + "a" * 32 + "-" + "b" * 16 + "-01"},
        {"text": "", "type": "ping"},
    ],
)
async def test_what_just_fits_is_accepted(hub: Hub, fields: dict[str, Any]) -> None:
    assert (await send(hub, **fields)).receipt.seq == 1


async def test_content_is_limited_in_bytes_of_text_and_payload(hub: Hub) -> None:
    text, payload = "é" * (128 * 1024), b'{"a":"' + b"x" * (256 * 1024 - 8) + b'"}'
    await send(hub, text)
    await send(hub, "", payload=payload)
    await send(hub, text[4:], payload=b'{"a":12}')
    for fields in (
        {"text": text + "x"},
        {"text": "x", "payload": payload},
        {"text": text[3:], "payload": b'{"a":1}'},
    ):
        with pytest.raises(ContentTooLarge):
            await send(hub, **fields)


async def test_only_as_oneself(hub: Hub) -> None:
    caller = Principal(via="rest", agents=frozenset({"beta"}), scopes=ORDINARY)
    await hub.send(caller, draft())
    with pytest.raises(Forbidden):
        await hub.send(caller, draft(sender="gamma"))
    with pytest.raises(Forbidden):
        await hub.ask(caller, draft(sender="gamma"), 10)


async def test_the_default_ttl_can_be_chosen(open_hub: OpenHub, clock: ManualClock) -> None:
    hub = await open_hub(default_ttl=60.0)
    assert (await send(hub)).receipt.expires_at == clock.time() + 60
    assert (await send(hub, ttl=5.0)).receipt.expires_at == clock.time() + 5


async def test_the_answer_says_whether_the_recipient_is_there(hub: Hub, clock: ManualClock) -> None:
    await register(hub, "alpha")
    await hub.heartbeat(ANYONE, "alpha", "busy")
    sent = await send(hub)
    assert sent.status == Status.BUSY
    assert sent.receipt.recipient is not None
    assert sent.receipt.recipient.agent_id == "alpha"
    assert sent.similar == []
    await clock.advance(91)
    assert (await send(hub)).status is Status.OFFLINE


async def test_of_a_crowd_of_similar_ids_few_are_compared_closely(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[int] = []

    def counting(wanted: str, known: Collection[str], **options: Any) -> list[str]:
        compared.append(len(known))
        return get_close_matches(wanted, known, **options)

    monkeypatch.setattr(similar, "get_close_matches", counting)
    await register(hub, *(f"{'worker' * 6}-{number:027}" for number in range(COMPARED)))
    wanted = f"{'worker' * 6}-{COMPARED - 1:027}"
    for number in range(1, 6):
        sent = await send(hub, to=f"{wanted[:40]}{number}{wanted[41:]}")
        assert len(sent.similar) == 3
    assert compared == [COMPARED_CLOSELY] * 5


async def test_for_an_id_that_nobody_registered_the_answer_names_similar_ones(hub: Hub) -> None:
    await register(hub, "reviewer-1", "reviewer-2", "tester")
    sent = await send(hub, to="reviewer")
    assert (sent.status, sent.receipt.recipient) == (None, None)
    assert sorted(sent.similar) == ["reviewer-1", "reviewer-2"]
    await hub.deregister(ANYONE, "reviewer-2")
    await register(hub, "reviewers")
    assert sorted((await send(hub, to="reviewer")).similar) == ["reviewer-1", "reviewers"]
    assert (await send(hub, to="zzz")).similar == []


async def test_an_id_in_another_case_is_similar_and_all_means_everybody(hub: Hub) -> None:
    await register(hub, "vscode_client_1", "tester")
    assert (await send(hub, to="VSCode_Client_1")).similar == ["vscode_client_1"]
    assert (await send(hub, to="TESTER")).similar == ["tester"]
    assert (await send(hub, to="all")).similar == ["ALL"]


async def test_the_same_key_and_content_is_answered_the_same(hub: Hub, metrics: Counted) -> None:
    first = await send(hub, **KEY)
    again = await send(hub, **KEY)
    assert (first.replayed, again.replayed) == (False, True)
    assert again.receipt.message_id == first.receipt.message_id
    assert texts((await receive(hub)).deliveries) == ["hello"]


@pytest.mark.parametrize(
    "other",
    [
        {"text": "hellp"},
        {"payload": b'{"a":1}'},
        {"type": "request"},
        {"reply_to": new_message_id()},
        {"ttl": 7.0},
    ],
)
async def test_the_same_key_with_other_content_is_refused(hub: Hub, other: dict[str, Any]) -> None:
    await send(hub, **KEY)
    with pytest.raises(IdempotencyMismatch):
        await send(hub, **KEY, **other)


async def test_content_that_only_looks_the_same_when_joined_is_other_content(hub: Hub) -> None:
    await send(hub, "b", type="a", **KEY)
    with pytest.raises(IdempotencyMismatch):
        await send(hub, "", type="ab", **KEY)


async def test_without_a_key_the_same_words_are_another_message(hub: Hub) -> None:
    first, second = await send(hub), await send(hub)
    assert first.receipt.message_id != second.receipt.message_id


async def test_while_it_drains_the_hub_refuses_what_is_new(hub: Hub) -> None:
    await hub.drain()
    assert hub.is_draining
    for call in (
        hub.send(ANYONE, draft()),
        hub.send(ANYONE, draft(to="ALL")),
        hub.ask(ANYONE, draft(), 10),
        hub.register(ANYONE, Agent(agent_id="alpha")),
        hub.subscribe(ANYONE, "alpha"),
    ):
        with pytest.raises(Draining) as refused:
            await call
        assert refused.value.retry_after


async def test_refusals_are_counted_by_their_code(open_hub: OpenHub, metrics: Counted) -> None:
    hub = await open_hub()
    with pytest.raises(Invalid):
        await send(hub, type="No")
    with pytest.raises(ContentTooLarge):
        await send(hub, "x" * 300_000)
    for _ in range(500):
        await send(hub)
    with pytest.raises(SenderShare):
        await send(hub)
    await send(hub, **KEY, sender="gamma")
    await send(hub, **KEY, sender="gamma")
    assert metrics.counts == {
        "rejected invalid": 1,
        "rejected content_too_large": 1,
        "rejected sender_share": 1,
    }
    assert (await hub.totals()).accepted_by == {("rest", "direct"): 501}


async def test_a_refused_send_says_so_and_nothing_was_accepted(
    hub: Hub, backend: QueueBackend, monkeypatch: pytest.MonkeyPatch, clock: ManualClock
) -> None:
    # Whatever part of the store is away: what is refused was not accepted.
    await register(hub, "beta")
    await clock.advance(20)
    monkeypatch.setattr(backend, "touch_agent", away)
    for call in (hub.send(ANYONE, draft()), hub.ask(ANYONE, draft(), 10)):
        with pytest.raises(BackendUnavailable):
            await call
    assert (await hub.totals()).accepted == 0
    assert hub.open_waits == 0


# --- broadcast ----------------------------------------------------------------------------


async def test_a_broadcast_reaches_every_registered_agent_but_its_sender(
    hub: Hub, clock: ManualClock
) -> None:
    await register(hub, "beta", "away")
    await clock.advance(100)
    await register(hub, "alpha", "gamma")
    await send(hub, to="unregistered")
    sent = await broadcast(hub, "to all")
    assert sorted(sent.accepted) == ["alpha", "away", "gamma"]
    assert sent.rejected == []
    assert sent.expires_at == clock.time() + 300
    for agent_id in ("alpha", "away", "gamma"):
        [delivery] = (await receive(hub, agent_id)).deliveries
        assert (delivery.message.id, delivery.message.text) == (sent.message_id, "to all")
        assert delivery.message.broadcast
        assert delivery.message.to == agent_id
    assert (await hub.look(ANYONE, "beta")).total == 0
    assert (await hub.look(ANYONE, "unregistered")).total == 1


async def test_a_broadcast_to_nobody_is_accepted(hub: Hub) -> None:
    sent = await broadcast(hub)
    assert (sent.accepted, sent.rejected, sent.replayed) == ([], [], False)
    assert is_message_id(sent.message_id)


async def test_a_broadcast_says_whom_it_did_not_reach(open_hub: OpenHub, metrics: Counted) -> None:
    hub = await open_hub()
    await register(hub, "alpha", "gamma")
    for _ in range(500):
        await send(hub)
    sent = await broadcast(hub)
    assert sent.accepted == ["gamma"]
    assert sent.rejected == [("alpha", "sender_share")]
    assert (await hub.totals()).accepted_by["rest", "broadcast"] == 1
    assert metrics.counts["rejected sender_share"] == 1


async def test_a_broadcast_that_comes_again_fills_only_the_gaps(
    hub: Hub, clock: ManualClock
) -> None:
    await register(hub, "alpha", "gamma")
    for _ in range(500):
        await send(hub)
    first = await broadcast(hub, **KEY)
    await receive(hub, limit=200)
    await clock.advance(10)
    again = await broadcast(hub, **KEY)
    assert (first.replayed, again.replayed) == (False, True)
    assert again.message_id == first.message_id
    assert sorted(again.accepted) == ["alpha", "gamma"]
    assert texts((await receive(hub, "gamma")).deliveries) == ["to all"]
    assert (await hub.totals()).accepted_by["rest", "broadcast"] == 2
    with pytest.raises(IdempotencyMismatch):
        await broadcast(hub, "other words", **KEY)


async def test_a_sender_sees_where_every_copy_stands(hub: Hub) -> None:
    await register(hub, "alpha", "gamma")
    sent = await broadcast(hub)
    await receive(hub, "gamma")
    standings = await hub.standings(ANYONE, "beta", sent.message_id)
    assert {one.recipient: one.state for one in standings} == {
        "alpha": State.READY,
        "gamma": State.ACKED,
    }


async def test_a_large_broadcast_lets_others_through(hub: Hub) -> None:
    await register(hub, *(f"agent-{number}" for number in range(600)))
    sent = await broadcast(hub)
    assert len(sent.accepted) == 600


async def test_what_a_broadcast_lost_is_not_told(hub: Hub, clock: ManualClock) -> None:
    await register(hub, "alpha", "beta")
    await broadcast(hub, ttl=1.0)
    await clock.advance(3)
    assert (await hub.look(ANYONE, "beta")).total == 0
    await send(hub, ttl=1.0)
    await clock.advance(3)
    [notice] = (await hub.look(ANYONE, "beta")).deliveries
    assert json.loads(notice.message.payload)["count"] == 1


async def test_every_refusal_is_one_of_the_closed_list(hub: Hub) -> None:
    with pytest.raises(HubError) as refused:
        await hub.send(ANYONE, draft(to="ALL", sender="hub"))
    assert refused.value.code == "invalid"


async def test_a_caller_that_hangs_up_in_the_middle_has_told_all(
    hub: Hub, backend: QueueBackend
) -> None:
    many = BROADCAST_SLICE + 10
    for number in range(many):
        await backend.put_agent(Agent(agent_id=f"agent-{number}"))
    call = asyncio.ensure_future(broadcast(hub))
    for _ in range(2):  # it has begun
        await asyncio.sleep(0)
    await cancel(call)
    await settle()
    assert (await hub.totals()).accepted == many


async def test_a_broadcast_that_the_store_is_away_for_is_refused_whole(
    hub: Hub, backend: QueueBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    await register(hub, "alpha", "beta", "gamma")
    with monkeypatch.context() as broken:
        broken.setattr(backend, "send", away)
        with pytest.raises(BackendUnavailable):
            await broadcast(hub)
    assert len((await broadcast(hub)).accepted) == 2


async def test_the_trail_of_a_broadcast_begins_once_and_only_when_it_was_accepted(
    hub: Hub,
    backend: QueueBackend,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def accepted() -> list[str]:
        """The broadcasts that the log has told of since it was asked last."""
        lines = [one for one in caplog.records if one.message == "accepted"]
        caplog.clear()
        return [vars(line)["message_id"] for line in lines]

    monkeypatch.setattr(TRAIL, "is_kept", True)
    caplog.set_level(logging.DEBUG)
    to_nobody = await broadcast(hub)
    assert accepted() == [to_nobody.message_id]
    await register(hub, "alpha", "gamma")
    to_two = await broadcast(hub)
    assert accepted() == [to_two.message_id]
    monkeypatch.setattr(backend, "send", away)
    with pytest.raises(BackendUnavailable):
        await broadcast(hub)
    assert accepted() == []
