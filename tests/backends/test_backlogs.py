"""Which inboxes owe something, and how much: what every backend says of it."""

from __future__ import annotations

from agent_hub.core.agent import Agent
from agent_hub.core.mail import Backlog
from agent_hub.core.queue_backend import QueueBackend
from tests.backends.mail import letter, send, take, take_and_ack, tell_senders
from tests.clock import ManualClock

EMPTY_PAYLOAD_BYTES = 2


async def backlogs(backend: QueueBackend) -> dict[str, Backlog]:
    found = await backend.backlogs()
    by_agent = {one.agent_id: one for one in found}
    assert len(by_agent) == len(found)
    return by_agent


async def test_each_inbox_says_what_it_owes_and_since_when(
    backend: QueueBackend, clock: ManualClock
) -> None:
    first_at = clock.time()
    await send(backend, "taken", "left", to="alpha")
    await clock.advance(2)
    await send(backend, "x", sender="alpha", to="beta")
    await send(backend, "later")
    await take(backend, "alpha", limit=1)
    assert await backlogs(backend) == {
        "alpha": Backlog(
            agent_id="alpha",
            ready=2,
            leased=1,
            bytes=len("takenleftlater") + 3 * EMPTY_PAYLOAD_BYTES,
            oldest_at=first_at,
        ),
        "beta": Backlog(
            agent_id="beta",
            ready=1,
            leased=0,
            bytes=len("x") + EMPTY_PAYLOAD_BYTES,
            oldest_at=first_at + 2,
        ),
    }


async def test_an_inbox_that_owes_nothing_is_not_among_them(backend: QueueBackend) -> None:
    await backend.put_agent(Agent(agent_id="registered"))
    await backend.open_wait("asker", "m_1", "asked", seconds=60)
    await send(backend, "read", to="reader")
    await take_and_ack(backend, "reader")
    assert await backlogs(backend) == {}


async def test_what_is_all_leased_has_no_oldest_unread_message(backend: QueueBackend) -> None:
    await send(backend, "a", "b")
    await take(backend, lease_id="one")
    [alpha] = await backend.backlogs()
    assert (alpha.ready, alpha.leased, alpha.oldest_at) == (0, 2, None)


async def test_what_came_back_is_as_old_as_it_is(backend: QueueBackend, clock: ManualClock) -> None:
    accepted_at = clock.time()
    await send(backend, "a", "b")
    await take(backend, lease_id="one", limit=1)
    await clock.advance(5)
    await backend.release("alpha", "one", None, failure=False)
    [alpha] = await backend.backlogs()
    assert (alpha.ready, alpha.oldest_at) == (2, accepted_at)


async def test_a_notice_is_owed_and_counts_no_bytes(
    backend: QueueBackend, clock: ManualClock
) -> None:
    await backend.send(letter("a", ttl=1))
    await clock.advance(2)
    await tell_senders(backend)
    [beta] = await backend.backlogs()
    assert (beta.agent_id, beta.ready, beta.bytes) == ("beta", 1, 0)


async def test_the_inboxes_add_up_to_the_totals(backend: QueueBackend, clock: ManualClock) -> None:
    for number in range(5):
        await send(backend, *["x"] * (number + 1), to=f"id-{number}")
        await clock.advance(1)
    await take(backend, "id-4", limit=2)
    found, sums = await backend.backlogs(), await backend.totals()
    assert sum(one.ready for one in found) == sums.ready == 13
    assert sum(one.leased for one in found) == sums.leased == 2
    oldest = min(one.oldest_at for one in found if one.oldest_at is not None)
    assert clock.time() - oldest == sums.oldest_ready_age
