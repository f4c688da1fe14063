"""WebSockets: the credential in the header or the first frame, and its end while they are open."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import WSServerHandshakeError

from agent_hub.auth.revocations import Revocations
from agent_hub.core.agent import Agent
from agent_hub.core.limits import Limits
from agent_hub.core.principal import ORDINARY, Scope
from agent_hub.core.vigil import CHECK_SECONDS
from agent_hub.queue_backends.memory import MemoryBackend
from agent_hub.web.waiting_room import CREDENTIAL_SECONDS, PLACES_OF_AN_ADDRESS
from tests.auth.guarded import Guarded, bearer, guarded_hub
from tests.clock import ManualClock
from tests.server import running_hub
from tests.web.peer import Peer, connected, metric
from tests.web.waiting import until

LONGEST_SECONDS = 5.0
"""A revoked socket closes within so long."""


@pytest.fixture
async def guarded(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Guarded]:
    async with guarded_hub(tmp_path, clock) as guarded:
        yield guarded


@asynccontextmanager
async def socket(
    guarded: Guarded, agent_id: str = "beta", token: str | None = None, **query: str
) -> AsyncIterator[Peer]:
    """An upgraded socket; nothing was read from it."""
    headers = {} if token is None else bearer(token)
    opened = await guarded.hub.session.ws_connect(
        f"/ws/{agent_id}",
        params={"events": "none", **query},
        headers=headers,
        autoping=False,
        autoclose=False,
    )
    peer = Peer(opened, receipts=True)
    try:
        yield peer
    finally:
        opened._response.close()


def auth(token: str) -> dict[str, str]:
    return {"type": "auth", "token": token}


async def refusal(peer: Peer) -> tuple[str, int]:
    """The code of the problem that is told, and of the close that follows."""
    frame = await peer.next()
    assert frame["type"] == "hub.error"
    return frame["problem"]["code"], await peer.closed()


async def test_a_credential_in_the_header_opens_the_stream_at_once(guarded: Guarded) -> None:
    token = await guarded.token()
    async with socket(guarded, token=token) as peer:
        assert (await peer.next())["type"] == "hub.welcome"


async def test_a_credential_in_the_first_frame_opens_the_stream_too(guarded: Guarded) -> None:
    for agent, token in (("alpha", await guarded.token("alpha")), ("beta", guarded.issuer.token())):
        async with socket(guarded, agent) as peer:
            assert (await peer.ask(auth(token)))["type"] == "hub.welcome"


async def test_a_bad_credential_in_the_first_frame_closes_with_4500(guarded: Guarded) -> None:
    bad = ["made up", "", await guarded.expired(), await guarded.revoked()]
    bad += [guarded.issuer.token(aud="https://other"), await guarded.revoked_jwt()]
    for token in bad:
        async with socket(guarded) as peer:
            await peer.say(auth(token))
            assert await refusal(peer) == ("unauthenticated", 4500)


@pytest.mark.parametrize(
    "frame",
    [
        {"type": "heartbeat"},
        {"type": "message", "to": "alpha", "text": "hello"},
        {"type": "auth"},
        {"type": "auth", "token": 7},
        {"type": "auth", "token": "x", "and": "more"},
        "not json",
        "[]",
        "",
    ],
)
async def test_any_other_first_frame_closes_with_4502(guarded: Guarded, frame: Any) -> None:
    async with socket(guarded) as peer:
        await peer.say(frame)
        assert await refusal(peer) == ("unauthenticated", 4502)


async def test_without_a_credential_within_10_seconds_a_socket_closes_with_4502(
    guarded: Guarded,
) -> None:
    async with socket(guarded) as peer:
        await guarded.clock.advance(CREDENTIAL_SECONDS)
        assert await refusal(peer) == ("unauthenticated", 4502)


async def test_a_socket_that_is_turned_away_is_counted_by_its_code(
    tmp_path: Path, clock: ManualClock
) -> None:
    async with guarded_hub(tmp_path, clock, metrics_open=True) as guarded:
        for token in ("made up", 7):
            async with socket(guarded) as peer:
                await peer.say({"type": "auth", "token": token})
                await refusal(peer)
        for code in (4500, 4502):
            assert (
                await metric(guarded.hub, f'agenthub_websocket_closes_total{{code="{code}"}}') == 1
            )
        assert await metric(guarded.hub, "agenthub_websocket_connections") == 0


async def test_who_leaves_before_it_shows_one_leaves_nothing_behind(guarded: Guarded) -> None:
    for _ in range(PLACES_OF_AN_ADDRESS + 1):
        async with socket(guarded) as peer:
            await peer.socket.close()
    async with socket(guarded) as peer:
        assert (await peer.ask(auth(await guarded.token())))["type"] == "hub.welcome"


async def test_a_socket_whose_agent_finds_no_room_may_come_again(
    tmp_path: Path, clock: ManualClock
) -> None:
    backend = MemoryBackend(clock, Limits(agents=1))
    async with guarded_hub(tmp_path, clock, backend=backend) as guarded:
        await backend.put_agent(Agent(agent_id="somebody"))
        async with socket(guarded) as peer:
            await peer.say(auth(await guarded.token()))
            assert await refusal(peer) == ("too_many_inboxes", 4013)
        with pytest.raises(WSServerHandshakeError) as refused:
            await guarded.hub.session.ws_connect("/ws/beta", headers=bearer(await guarded.token()))
        assert refused.value.status == 429


async def test_nothing_is_sent_or_registered_before_the_credential_is_good(
    guarded: Guarded,
) -> None:
    async with socket(guarded) as peer:
        await peer.say(auth("made up"))
        await peer.say({"type": "message", "to": "alpha", "text": "hello"})
        await refusal(peer)
    assert guarded.hub.hub.registered_agents == 0
    assert (await guarded.hub.hub.totals()).accepted == 0


async def test_a_socket_of_another_agent_is_refused_either_way(guarded: Guarded) -> None:
    token = await guarded.token("beta")
    with pytest.raises(WSServerHandshakeError) as refused:
        async with socket(guarded, "alpha", token):
            pass
    assert refused.value.status == 403
    async with socket(guarded, "alpha") as peer:
        await peer.say(auth(token))
        assert await refusal(peer) == ("forbidden", 4500)


async def test_a_missing_scope_is_named_either_way(guarded: Guarded) -> None:
    token = await guarded.without(Scope.READ)
    with pytest.raises(WSServerHandshakeError) as refused:
        async with socket(guarded, token=token):
            pass
    assert refused.value.status == 403
    async with socket(guarded) as peer:
        await peer.say(auth(token))
        assert await refusal(peer) == ("insufficient_scope", 4500)


async def test_what_is_wrong_beside_the_credential_is_told_too(guarded: Guarded) -> None:
    token = await guarded.token()
    async with socket(guarded, since="no cursor") as peer:
        await peer.say(auth(token))
        assert await refusal(peer) == ("invalid", 4501)


async def test_sockets_that_show_nothing_are_so_many_for_an_address(guarded: Guarded) -> None:
    async with AsyncExitStack() as opened:
        for _ in range(PLACES_OF_AN_ADDRESS):
            await opened.enter_async_context(socket(guarded))
        with pytest.raises(WSServerHandshakeError) as refused:
            await opened.enter_async_context(socket(guarded))
        assert refused.value.status == 429
        token = await guarded.token()
        peer = await opened.enter_async_context(socket(guarded, token=token))
        assert (await peer.next())["type"] == "hub.welcome"


async def test_a_socket_that_showed_its_credential_gives_its_place_to_another(
    guarded: Guarded,
) -> None:
    async with AsyncExitStack() as opened:
        for number in range(PLACES_OF_AN_ADDRESS + 4):
            peer = await opened.enter_async_context(socket(guarded, f"agent-{number}"))
            token = await guarded.token(f"agent-{number}")
            assert (await peer.ask(auth(token)))["type"] == "hub.welcome"


async def test_a_credential_shown_again_does_no_harm(guarded: Guarded) -> None:
    token = await guarded.token()
    async with socket(guarded, token=token) as peer:
        await peer.next()
        await peer.say(auth(token))
        assert await peer.sync() == []


async def test_a_client_may_show_one_to_a_hub_that_asks_for_none() -> None:
    async with running_hub() as hub, connected(hub, "beta") as peer:
        await peer.say(auth("ah_anything"))
        assert await peer.sync() == []


async def test_others_are_not_announced_to_who_may_not_list_them(guarded: Guarded) -> None:
    scopes = ORDINARY - {Scope.LIST}
    token = await guarded.token("beta", scopes=scopes)
    async with socket(guarded, token=token, events="all") as peer:
        await peer.next()
        async with guarded.hub.session.post(
            "/api/v1/agents/register",
            json={"agent_id": "alpha"},
            headers=bearer(await guarded.token("alpha")),
        ) as answer:
            assert answer.status == 201
        await guarded.clock.advance(1)
        assert await peer.sync() == []


# --- its end --------------------------------------------------------------------------------


async def open_and_welcomed(
    stack: AsyncExitStack, guarded: Guarded, agent: str, token: str
) -> Peer:
    peer = await stack.enter_async_context(socket(guarded, agent, token))
    assert (await peer.next())["type"] == "hub.welcome"
    return peer


async def test_a_revoked_tokens_open_socket_closes_within_5_seconds(guarded: Guarded) -> None:
    alpha, beta = await guarded.token("alpha"), await guarded.token("beta")
    async with AsyncExitStack() as stack:
        alphas = await open_and_welcomed(stack, guarded, "alpha", alpha)
        betas = await open_and_welcomed(stack, guarded, "beta", beta)
        await guarded.clock.advance(10)
        assert await betas.sync() == []
        await guarded.tokens.revoke(beta)
        await guarded.clock.advance(LONGEST_SECONDS)
        assert await betas.closed() == 4500
        assert await alphas.sync() == []


async def test_a_revoked_jwts_open_socket_closes_too(guarded: Guarded) -> None:
    async with AsyncExitStack() as stack:
        peer = await open_and_welcomed(stack, guarded, "beta", guarded.issuer.token())
        await Revocations(guarded.store).revoke("token-1")
        await guarded.clock.advance(LONGEST_SECONDS)
        assert await peer.closed() == 4500


async def test_an_expired_tokens_open_socket_closes(guarded: Guarded) -> None:
    token = await guarded.token("beta", lifetime=20)
    async with AsyncExitStack() as stack:
        peer = await open_and_welcomed(stack, guarded, "beta", token)
        await guarded.clock.advance(20 - CHECK_SECONDS)
        assert await peer.sync() == []
        await guarded.clock.advance(2 * CHECK_SECONDS)
        assert await peer.closed() == 4500


async def test_a_question_of_a_revoked_socket_gets_no_answer(guarded: Guarded) -> None:
    token = await guarded.token("beta")
    async with AsyncExitStack() as stack:
        peer = await open_and_welcomed(stack, guarded, "beta", token)
        accepted = await peer.send("alpha", "ready?", wait=60)
        assert accepted["type"] == "hub.accepted"
        await guarded.tokens.revoke(token)
        await guarded.clock.advance(LONGEST_SECONDS)
        assert await peer.closed() == 4500


async def test_a_running_long_poll_of_a_revoked_token_ends(guarded: Guarded) -> None:
    token = await guarded.token("beta")

    async def poll() -> int:
        query = {"agent_id": "beta", "wait": "50"}
        async with guarded.hub.session.get(
            "/api/v1/messages", params=query, headers=bearer(token)
        ) as answer:
            assert json.loads(await answer.read())["code"] == "unauthenticated"
            assert "invalid_token" in answer.headers["WWW-Authenticate"]
            return answer.status

    before = guarded.clock.pending
    polling = asyncio.ensure_future(poll())
    await until(lambda: guarded.clock.pending >= before + 2)  # its end, and the next look
    await guarded.tokens.revoke(token)
    await guarded.clock.advance(LONGEST_SECONDS)
    assert await polling == 401
