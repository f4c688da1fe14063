"""Short ways to say what a test asks of a backend. `beta` writes to `alpha`."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count

from agent_hub.core.limits import Limits
from agent_hub.core.mail import Receipt, State, Submission
from agent_hub.core.message import ALL, EMPTY_PAYLOAD, Delivery, Draft, new_message_id
from agent_hub.core.queue_backend import QueueBackend

PLENTY = 1 << 40

_lease_numbers = count(1)


def letter(
    text: str = "hello",
    *,
    sender: str = "beta",
    to: str = "alpha",
    kind: str = "message",
    payload: bytes = EMPTY_PAYLOAD,
    message_id: str | None = None,
    ttl: float = 300.0,
    reply_to: str | None = None,
    key: str | None = None,
    broadcast: bool = False,
    asking_since: float | None = None,
) -> Submission:
    draft = Draft(
        sender=sender,
        to=ALL if broadcast else to,
        type=kind,
        text=text,
        payload=payload,
        reply_to=reply_to,
        idempotency_key=key,
    )
    return Submission(
        draft=draft,
        message_id=message_id or new_message_id(),
        recipient=to,
        ttl=ttl,
        broadcast=broadcast,
        fingerprint=text.encode(),
        asking_since=asking_since,
        via="test",
    )


async def send(
    backend: QueueBackend, *texts: str, sender: str = "beta", to: str = "alpha", ttl: float = 300.0
) -> list[Receipt]:
    """One message for each text."""
    return [await backend.send(letter(text, sender=sender, to=to, ttl=ttl)) for text in texts]


async def take(
    backend: QueueBackend,
    agent_id: str = "alpha",
    *,
    lease_id: str | None = None,
    limit: int = 10_000,
    max_bytes: int = PLENTY,
    seconds: float | None = None,
) -> list[Delivery]:
    """Lease; without `seconds` as for a call that writes what it took."""
    return await backend.lease(
        agent_id,
        lease_id or f"lease-{next(_lease_numbers)}",
        limit=limit,
        max_bytes=max_bytes,
        seconds=seconds,
    )


async def stream(
    backend: QueueBackend, agent_id: str = "alpha", *, lease_id: str = "", limit: int = 10_000
) -> list[Delivery]:
    """Lease as the agent's open stream, for as long as it has its place."""
    await backend.occupy(agent_id, "stream", lambda: None)
    return await backend.lease(
        agent_id,
        lease_id or f"lease-{next(_lease_numbers)}",
        limit=limit,
        max_bytes=PLENTY,
        seconds=None,
        stream_id="stream",
    )


async def take_and_ack(backend: QueueBackend, agent_id: str = "alpha") -> list[Delivery]:
    deliveries = await take(backend, agent_id)
    await backend.ack(agent_id, ids(deliveries))
    return deliveries


async def fail(backend: QueueBackend, times: int, agent_id: str = "alpha") -> None:
    """Take everything and give it back as a failure, so many times."""
    for _ in range(times):
        lease_id = f"failing-{next(_lease_numbers)}"
        await take(backend, agent_id, lease_id=lease_id)
        await backend.release(agent_id, lease_id, None, failure=True)


async def kill(backend: QueueBackend, agent_id: str = "alpha") -> None:
    """Let everything that is ready die."""
    await fail(backend, Limits().failures + 1, agent_id)


async def state_of(backend: QueueBackend, message_id: str, agent_id: str = "alpha") -> State | None:
    standings = await backend.standings(agent_id, message_id)
    return standings[0].state if standings else None


async def tell_senders(backend: QueueBackend) -> None:
    """What the hub does after each sweep."""
    await backend.sweep()
    ended = await backend.undelivered(1_000)
    for one in ended:
        if one.notify:
            await backend.notice(one)
    await backend.noted(ended)


async def balance(backend: QueueBackend) -> None:
    """Every message that was ever accepted is somewhere, once."""
    sums = await backend.totals()
    somewhere = sums.acked + sums.expired + sums.dead + sums.dropped + sums.ready + sums.leased
    assert sums.accepted == somewhere
    assert sums.accepted == sum(sums.accepted_by.values())
    assert sums.acked == sum(sums.acked_by.values())


def ids(deliveries: Iterable[Delivery]) -> list[str]:
    return [delivery.message.id for delivery in deliveries]


def texts(deliveries: Iterable[Delivery]) -> list[str]:
    return [delivery.message.text for delivery in deliveries]


def attempts(deliveries: Iterable[Delivery]) -> list[int]:
    return [delivery.attempt for delivery in deliveries]
