"""An hour without use ends a session; use begins it anew; a person or the operator ends it."""

from __future__ import annotations

import json

import pytest
from aiohttp import WSMsgType

from agent_hub.auth.oauth.sessions import LONGEST_SECONDS
from agent_hub.auth.store import Kind
from tests.clock import ManualClock
from tests.oauth.client import HandClient

HOUR = 3_600.0


async def test_an_idle_session_ends_after_an_hour_and_not_before(
    client: HandClient, clock: ManualClock
) -> None:
    tokens = await client.tokens()
    other = await client.tokens("gamma")
    assert tokens.refresh_token is not None
    assert other.refresh_token is not None
    clock.pass_by(HOUR - 1)
    assert (await client.refresh(tokens.refresh_token)).status == 200
    clock.pass_by(1)
    refused = await client.refresh(other.refresh_token)
    assert (await refused.json())["error_description"] == "the session is over: sign in again"
    assert [session.agent for session in await client.hub.sessions.all()] == ["beta"]


async def test_every_use_begins_the_hour_anew(client: HandClient, clock: ManualClock) -> None:
    refresh = (await client.tokens()).refresh_token
    for _ in range(5):
        clock.pass_by(HOUR - 1)
        assert refresh is not None
        renewed = await (await client.refresh(refresh)).json()
        refresh = renewed["refresh_token"]
        clock.pass_by(800)
        assert await client.call(renewed["access_token"]) == 200
    assert refresh is not None
    clock.pass_by(HOUR - 1)
    assert (await client.refresh(refresh)).status == 200


async def test_a_call_is_a_use(client: HandClient, clock: ManualClock) -> None:
    tokens = await client.tokens()
    clock.pass_by(600)
    assert await client.call(tokens.access_token) == 200
    [session] = await client.hub.sessions.all()
    assert session.last_active == clock.time()
    assert tokens.refresh_token is not None
    clock.pass_by(HOUR - 1)
    assert (await client.refresh(tokens.refresh_token)).status == 200


async def test_a_refused_call_is_no_use(client: HandClient, clock: ManualClock) -> None:
    tokens = await client.tokens()
    began = clock.time()
    clock.pass_by(901)
    assert await client.call(tokens.access_token) == 401
    [session] = await client.hub.sessions.all()
    assert session.last_active == began


async def test_a_session_is_json_with_its_last_use(client: HandClient, clock: ManualClock) -> None:
    await client.tokens("beta")
    [entry] = await client.hub.store.entries(Kind.SESSION)
    kept = json.loads(entry.value)
    assert kept["last_active"] == clock.time()
    assert kept["agent"] == "beta"
    assert kept["client_id"] == client.hub.site.client_id
    assert entry.expires_at == clock.time() + HOUR


async def test_however_busy_a_session_ends_some_day(
    client: HandClient, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert LONGEST_SECONDS == 30 * 24 * HOUR
    monkeypatch.setattr("agent_hub.auth.oauth.sessions.LONGEST_SECONDS", 5 * HOUR)
    refresh = (await client.tokens()).refresh_token
    assert refresh is not None
    for _ in range(5):
        clock.pass_by(HOUR - 0.5)
        response = await client.refresh(refresh)
        assert response.status == 200
        refresh = str((await response.json())["refresh_token"])
    clock.pass_by(HOUR - 0.5)
    assert (await client.refresh(refresh)).status == 400


async def test_a_session_that_was_ended_takes_its_tokens_with_it(
    client: HandClient, clock: ManualClock
) -> None:
    tokens = await client.tokens()
    assert await client.call(tokens.access_token) == 200
    [session] = await client.hub.sessions.all()
    assert await client.hub.sessions.end(session.id)
    clock.pass_by(1)
    assert await client.call(tokens.access_token) == 401


async def test_a_session_that_was_ended_meanwhile_is_not_extended(client: HandClient) -> None:
    await client.tokens()
    sessions = client.hub.sessions
    [session] = await sessions.all()
    assert await sessions.end(session.id)
    assert not await sessions._write(session, only_known=True)
    assert await sessions.all() == []


async def test_an_open_socket_ends_with_its_session(client: HandClient, clock: ManualClock) -> None:
    tokens = await client.tokens("beta")
    headers = {"Authorization": f"Bearer {tokens.access_token}"}
    async with client.hub.hub.session.ws_connect(
        "/ws/beta?events=none", headers=headers, autoclose=False
    ) as socket:
        assert (await socket.receive_json())["type"] == "hub.welcome"
        [session] = await client.hub.sessions.all()
        await client.hub.sessions.end(session.id)
        await clock.advance(5)
        closed = await socket.receive()
        assert (closed.type, closed.data) == (WSMsgType.CLOSE, 4500)
