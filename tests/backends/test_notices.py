"""What ended without an ack: reported once, and told to its sender in one pending notice."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agent_hub.core.errors import TooManyInboxes
from agent_hub.core.limits import Limits
from agent_hub.core.mail import State, Undelivered
from agent_hub.core.message import HUB, UNDELIVERED, Delivery
from agent_hub.core.queue_backend import QueueBackend
from tests.backends.mail import (
    balance,
    kill,
    letter,
    send,
    take,
    take_and_ack,
    tell_senders,
    texts,
)
from tests.clock import ManualClock
from tests.conftest import OpenBackend


async def expire(
    backend: QueueBackend, clock: ManualClock, *texts: str, sender: str = "beta", to: str = "alpha"
) -> list[str]:
    """Send and let expire; the ids."""
    receipts = await send(backend, *texts, sender=sender, to=to, ttl=1)
    await clock.advance(1)
    await backend.sweep()
    return [receipt.message_id for receipt in receipts]


def told(notice: Delivery) -> dict[str, Any]:
    assert (notice.message.type, notice.message.sender) == (UNDELIVERED, HUB)
    content: dict[str, Any] = json.loads(notice.message.payload)
    return content


async def test_what_ended_without_an_ack_is_reported_until_it_is_noted(
    backend: QueueBackend, clock: ManualClock
) -> None:
    [expired] = await expire(backend, clock, "a")
    [dead] = await send(backend, "b", sender="gamma")
    await kill(backend)
    ended = await backend.undelivered(10)
    assert ended == [
        Undelivered(
            message_id=expired,
            sender="beta",
            recipient="alpha",
            state=State.EXPIRED,
            notify=True,
        ),
        Undelivered(
            message_id=dead.message_id,
            sender="gamma",
            recipient="alpha",
            state=State.DEAD,
            notify=True,
        ),
    ]
    assert await backend.undelivered(1) == ended[:1]
    await backend.noted(ended[:1])
    assert await backend.undelivered(10) == ended[1:]
    await backend.noted(ended)
    assert await backend.undelivered(10) == []


async def test_what_was_acked_is_not_reported(backend: QueueBackend, clock: ManualClock) -> None:
    await send(backend, "a", ttl=1)
    await take_and_ack(backend)
    await clock.advance(1)
    await backend.sweep()
    assert await backend.undelivered(10) == []


async def test_a_sender_finds_a_notice(backend: QueueBackend, clock: ManualClock) -> None:
    [lost] = await expire(backend, clock, "a")
    [ended] = await backend.undelivered(10)
    assert await backend.notice(ended)
    [notice] = await take(backend, "beta")
    assert told(notice) == {
        "recipient": "alpha",
        "count": 1,
        "message_ids": [lost],
        "reasons": {"expired": 1},
    }
    assert notice.message.text == "1 message to alpha not delivered (1 expired)"
    assert notice.message.to == "beta"
    assert notice.message.seq == 1
    assert (await backend.totals()).accepted == 2
    await balance(backend)


async def test_one_notice_is_pending_for_each_recipient(
    backend: QueueBackend, clock: ManualClock
) -> None:
    lost = await expire(backend, clock, "a", "b")
    await tell_senders(backend)
    [dead] = await send(backend, "c")
    await kill(backend)
    await expire(backend, clock, "d", to="gamma")
    await tell_senders(backend)
    to_alpha, to_gamma = await take(backend, "beta")
    assert told(to_alpha) == {
        "recipient": "alpha",
        "count": 3,
        "message_ids": [*lost, dead.message_id],
        "reasons": {"dead": 1, "expired": 2},
    }
    assert to_alpha.message.text == "3 messages to alpha not delivered (1 dead, 2 expired)"
    assert told(to_gamma)["recipient"] == "gamma"


async def test_a_notice_that_was_looked_at_is_still_pending(
    backend: QueueBackend, clock: ManualClock
) -> None:
    await expire(backend, clock, "a")
    await tell_senders(backend)
    assert told((await backend.look("beta", None, 10)).deliveries[0])["count"] == 1
    await expire(backend, clock, "b")
    await tell_senders(backend)
    assert told((await backend.look("beta", None, 10)).deliveries[0])["count"] == 2


@pytest.mark.parametrize("end", ["leased", "released", "acked", "acked unseen", "expired"])
async def test_a_new_notice_begins_when_the_last_was_handed_out_or_is_gone(
    backend: QueueBackend, clock: ManualClock, end: str
) -> None:
    await expire(backend, clock, "a")
    await tell_senders(backend)
    if end == "acked unseen":
        [seen] = (await backend.look("beta", None, 10)).deliveries
        await backend.ack("beta", [seen.message.id])
    elif end == "expired":
        await clock.advance(3_600)
    else:
        deliveries = await take(backend, "beta", lease_id="mine")
        if end == "acked":
            await backend.ack("beta", [deliveries[0].message.id])
        elif end == "released":
            await backend.release("beta", "mine", None, failure=False)
    [second] = await expire(backend, clock, "b")
    await tell_senders(backend)
    notice = (await backend.look("beta", None, 10)).deliveries[-1]
    assert told(notice)["message_ids"] == [second]
    assert told(notice)["count"] == 1


async def test_a_notice_names_20_messages_and_counts_all(
    backend: QueueBackend, clock: ManualClock
) -> None:
    lost = await expire(backend, clock, *map(str, range(25)))
    await tell_senders(backend)
    [notice] = await take(backend, "beta")
    assert told(notice)["message_ids"] == lost[:20]
    assert told(notice)["count"] == 25
    assert told(notice)["reasons"] == {"expired": 25}


async def test_the_same_ending_counts_once(backend: QueueBackend, clock: ManualClock) -> None:
    await expire(backend, clock, *map(str, range(25)))
    ended = await backend.undelivered(100)
    made = [await backend.notice(one) for _ in range(2) for one in ended]
    assert made == [True] + [False] * 49
    [notice] = await take(backend, "beta")
    assert told(notice)["count"] == 25


async def test_the_same_ending_counts_once_even_when_its_notice_was_handed_out(
    backend: QueueBackend, clock: ManualClock
) -> None:
    await expire(backend, clock, "a")
    [ended] = await backend.undelivered(10)
    assert await backend.notice(ended)
    await take(backend, "beta")
    assert not await backend.notice(ended)
    await backend.noted([ended])
    assert not await backend.notice(ended)
    assert await take(backend, "beta") == []


async def test_copies_of_a_broadcast_are_counted_but_not_told(
    backend: QueueBackend, clock: ManualClock
) -> None:
    await backend.send(letter("all", broadcast=True, ttl=1))
    await clock.advance(1)
    await backend.sweep()
    [ended] = await backend.undelivered(10)
    assert (ended.state, ended.notify) == (State.EXPIRED, False)
    assert (await backend.totals()).expired == 1


async def test_a_notice_that_ends_is_counted_but_not_told(
    backend: QueueBackend, clock: ManualClock
) -> None:
    await expire(backend, clock, "a")
    await tell_senders(backend)
    await clock.advance(3_600)
    await backend.sweep()
    [ended] = await backend.undelivered(10)
    assert (ended.sender, ended.recipient, ended.notify) == (HUB, "beta", False)
    sums = await backend.totals()
    assert (sums.accepted, sums.expired) == (2, 2)


async def test_an_inbox_holds_50_notices_outside_its_limits(
    open_backend: OpenBackend, clock: ManualClock
) -> None:
    backend = await open_backend(Limits(inbox_messages=2))
    for number in range(51):
        await expire(backend, clock, "a", to=f"agent-{number}")
    await tell_senders(backend)
    assert (await backend.look("beta", None, 1)).total == 50
    # They take no place, no share and no bytes of the mail.
    await send(backend, "mail", sender="alpha", to="beta")
    # The places are free again when they were read.
    await take_and_ack(backend, "beta")
    await expire(backend, clock, "a", to="one-more")
    await tell_senders(backend)
    assert (await backend.look("beta", None, 1)).total == 1


async def test_a_pending_notice_takes_more_when_all_places_are_taken(
    open_backend: OpenBackend, clock: ManualClock
) -> None:
    backend = await open_backend(Limits(notices_per_inbox=1))
    await expire(backend, clock, "a")
    await tell_senders(backend)
    await expire(backend, clock, "b", to="gamma")
    await expire(backend, clock, "c")
    await tell_senders(backend)
    [notice] = await take(backend, "beta")
    assert told(notice)["recipient"] == "alpha"
    assert told(notice)["count"] == 2


async def test_notices_are_never_dropped_for_mail(
    open_backend: OpenBackend, clock: ManualClock
) -> None:
    backend = await open_backend(Limits(inbox_messages=2, drop_oldest=True))
    await expire(backend, clock, "a")
    await tell_senders(backend)
    await send(backend, "1", "2", "3", sender="gamma", to="beta")
    assert texts(await take(backend, "beta"))[1:] == ["3"]


async def test_a_notice_wakes_its_reader(backend: QueueBackend, clock: ManualClock) -> None:
    await expire(backend, clock, "a")
    woken: list[None] = []
    backend.watch("beta", lambda: woken.append(None))
    await tell_senders(backend)
    assert woken


async def test_a_notice_for_nobody_is_refused_when_there_are_too_many_inboxes(
    open_backend: OpenBackend, clock: ManualClock
) -> None:
    backend = await open_backend(Limits(unregistered_inboxes=1))
    await expire(backend, clock, "a")
    [ended] = await backend.undelivered(10)
    with pytest.raises(TooManyInboxes):
        await backend.notice(ended)


async def test_an_undelivered_notice_is_a_gap_in_the_senders_inbox(
    backend: QueueBackend, clock: ManualClock
) -> None:
    [seen] = await send(
        backend,
        "x",
        sender="alpha",
        to="beta",
    )
    await expire(backend, clock, "a")
    await tell_senders(backend)
    await clock.advance(3_600)
    await backend.sweep()
    assert not (await backend.look("beta", seen.cursor, 10)).recovered
