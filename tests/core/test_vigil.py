"""What is open ends with the credential that opened it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection

import pytest

from agent_hub.core.errors import BackendUnavailable, Unauthenticated
from agent_hub.core.hub import Hub
from agent_hub.core.principal import ORDINARY, Principal
from agent_hub.core.queue_backend import QueueBackend
from agent_hub.core.vigil import CHECK_SECONDS
from tests.clock import ManualClock
from tests.core.calls import ANYONE, draft, send, soon, texts


class Register:
    """Credentials that a test revokes."""

    def __init__(self) -> None:
        self.revoked: set[str] = set()
        self.is_away = False
        self.asked: list[set[str]] = []

    async def authenticate(self, credential: str, *, via: str, peer: str) -> Principal:
        raise NotImplementedError

    async def lost(self, callers: Collection[Principal]) -> set[str]:
        if self.is_away:
            raise BackendUnavailable("away")
        self.asked.append({caller.credential for caller in callers})
        return self.revoked


@pytest.fixture
def known() -> Register:
    return Register()


@pytest.fixture
async def open_hub_with(
    backend: QueueBackend, clock: ManualClock, known: Register
) -> AsyncIterator[Hub]:
    hub = Hub(backend, clock, authentication=known)
    await hub.start()
    yield hub
    await hub.stop()


@pytest.fixture
async def hub(open_hub_with: Hub) -> Hub:
    return open_hub_with


def caller(agent: str, expires_at: float | None = None) -> Principal:
    return Principal(
        via="websocket",
        agents=frozenset({agent}),
        subject=agent,
        scopes=ORDINARY,
        credential=f"token of {agent}",
        expires_at=expires_at,
    )


async def test_a_stream_ends_when_its_credential_is_revoked(
    hub: Hub, known: Register, clock: ManualClock
) -> None:
    stream = await hub.subscribe(caller("alpha"), "alpha")
    other = await hub.subscribe(caller("beta"), "beta")
    reading = await soon(stream.batch())
    await clock.advance(10 * CHECK_SECONDS)
    assert not reading.done()
    known.revoked = {"token of alpha"}
    await clock.advance(CHECK_SECONDS)
    assert await reading == []
    assert stream.has_lost_credential
    assert not other.has_lost_credential
    await stream.close()
    await other.close()


async def test_a_stream_ends_when_its_credential_expires(hub: Hub, clock: ManualClock) -> None:
    stream = await hub.subscribe(caller("alpha", clock.time() + 60), "alpha")
    reading = await soon(stream.batch())
    await clock.advance(60 - CHECK_SECONDS)
    assert not reading.done()
    await clock.advance(2 * CHECK_SECONDS)
    assert await reading == []
    assert stream.has_lost_credential
    await stream.close()


async def test_what_a_lost_stream_had_in_flight_is_ready_again(
    hub: Hub, known: Register, clock: ManualClock
) -> None:
    await send(hub, "one")
    stream = await hub.subscribe(caller("alpha"), "alpha")
    assert texts(await stream.batch()) == ["one"]
    known.revoked = {"token of alpha"}
    await clock.advance(CHECK_SECONDS)
    await stream.close()
    assert (await hub.unread(ANYONE, "alpha")).total == 1


async def test_a_long_poll_is_refused_when_its_credential_is_revoked(
    hub: Hub, known: Register, clock: ManualClock
) -> None:
    polling = await soon(hub.look(caller("alpha"), "alpha", wait=50))
    known.revoked = {"token of alpha"}
    await clock.advance(CHECK_SECONDS)
    with pytest.raises(Unauthenticated):
        await polling


async def test_a_wait_for_a_message_is_refused_when_its_credential_is_revoked(
    hub: Hub, known: Register, clock: ManualClock
) -> None:
    async with await hub.receive(caller("alpha"), "alpha", wait=50) as taking:
        taken = await soon(taking.leased())
        known.revoked = {"token of alpha"}
        await clock.advance(CHECK_SECONDS)
        with pytest.raises(Unauthenticated):
            await taken


async def test_a_question_is_refused_its_answer_when_its_credential_is_revoked(
    hub: Hub, known: Register, clock: ManualClock
) -> None:
    sent, question = await hub.ask(caller("beta"), draft(), 60)
    async with question:
        answered = await soon(question.answered())
        known.revoked = {"token of beta"}
        await clock.advance(CHECK_SECONDS)
        with pytest.raises(Unauthenticated):
            await answered
    await send(hub, "late", sender="alpha", to="beta", reply_to=sent.receipt.message_id)
    assert (await hub.unread(ANYONE, "beta")).total == 1  # an ordinary message now


async def test_a_watch_is_told_that_its_credential_was_revoked(
    hub: Hub, known: Register, clock: ManualClock
) -> None:
    lost: list[bool] = []
    watch = await hub.watch(
        caller("alpha"), "alpha", lambda: None, on_lost=lambda: lost.append(True)
    )
    known.revoked = {"token of alpha"}
    await clock.advance(CHECK_SECONDS)
    assert lost == [True]
    watch.close()


async def test_credentials_are_asked_for_together_and_only_while_something_is_open(
    hub: Hub, known: Register, clock: ManualClock
) -> None:
    alpha = await hub.subscribe(caller("alpha"), "alpha")
    beta = await hub.subscribe(caller("beta"), "beta")
    await clock.advance(CHECK_SECONDS)
    assert known.asked == [{"token of alpha", "token of beta"}]
    await alpha.close()
    await beta.close()
    await clock.advance(2 * CHECK_SECONDS)
    before = len(known.asked)
    await clock.advance(20 * CHECK_SECONDS)
    assert len(known.asked) == before


async def test_while_the_store_is_away_what_is_open_stays_and_expiry_counts(
    hub: Hub, known: Register, clock: ManualClock
) -> None:
    stream = await hub.subscribe(caller("alpha"), "alpha")
    expiring = await hub.subscribe(caller("beta", clock.time() + 10), "beta")
    known.is_away = True
    known.revoked = {"token of alpha"}
    await clock.advance(20)
    assert [stream.has_lost_credential, expiring.has_lost_credential] == [False, True]
    known.is_away = False
    await clock.advance(CHECK_SECONDS)
    assert [stream.has_lost_credential, expiring.has_lost_credential] == [True, True]
    await stream.close()
    await expiring.close()


async def test_who_showed_no_credential_is_never_asked_for_one(
    hub: Hub, known: Register, clock: ManualClock
) -> None:
    stream = await hub.subscribe(ANYONE, "alpha")
    await clock.advance(10 * CHECK_SECONDS)
    assert known.asked == []
    await stream.close()
