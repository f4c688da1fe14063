"""Beta's credential is good for beta: by no door does it do anything in alpha's name."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import WSServerHandshakeError

from agent_hub.core.agent import Agent
from agent_hub.core.message import Draft
from agent_hub.core.principal import Principal
from agent_hub.core.sending import Sent
from tests.auth.guarded import Guarded, bearer, guarded_hub
from tests.clock import ManualClock
from tests.mcp.door import ENVELOPE, MODERN_HEADERS
from tests.web.peer import Peer

MCP = {"Accept": "application/json, text/event-stream"}
ANYONE = Principal("rest")


@pytest.fixture(params=["token", "jwt"])
async def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def guarded(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Guarded]:
    async with guarded_hub(tmp_path, clock) as guarded:
        yield guarded


@pytest.fixture
async def beta(guarded: Guarded, kind: str) -> dict[str, str]:
    """Beta's credential, on a hub where alpha is registered and has a message."""
    alpha = await guarded.token("alpha")
    await call(guarded, "POST", "/agents/register", bearer(alpha), {"agent_id": "alpha"}, 201)
    token = guarded.issuer.token() if kind == "jwt" else await guarded.token("beta")
    return bearer(token)


@pytest.fixture
async def secret(guarded: Guarded, beta: dict[str, str]) -> str:
    """The id of a message from gamma to alpha."""
    draft = Draft(sender="gamma", to="alpha", text="for alpha's eyes")
    sent = await guarded.hub.hub.send(ANYONE, draft)
    assert isinstance(sent, Sent)
    return sent.receipt.message_id


async def call(
    guarded: Guarded,
    method: str,
    path: str,
    headers: dict[str, str],
    body: Any = None,
    status: int = 403,
    **query: str,
) -> Any:
    async with guarded.hub.session.request(
        method, f"/api/v1{path}", json=body, params=query, headers=headers
    ) as answer:
        text = await answer.text()
        assert answer.status == status, text
        assert "alpha's eyes" not in text
        return json.loads(text) if text else None


async def tool(guarded: Guarded, headers: dict[str, str], called: str, **arguments: Any) -> None:
    """A tool call that is refused."""
    message = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": called, "arguments": arguments},
    }
    result = (await rpc(guarded, headers, message))["result"]
    assert result["isError"]
    assert result["structuredContent"]["code"] == "forbidden"


async def rpc(
    guarded: Guarded, headers: dict[str, str], message: Any, more: dict[str, str] | None = None
) -> Any:
    async with guarded.hub.session.post(
        "/mcp", json=message, headers={**MCP, **headers, **(more or {})}
    ) as answer:
        text = await answer.text()
        assert answer.status in (200, 400), text
        assert "alpha's eyes" not in text
        whole = text.partition("data: ")[2] if text.startswith(("event", "data", ":")) else text
        return json.loads(whole.strip())


# --- sending as alpha -----------------------------------------------------------------------


async def test_it_cannot_send_as_alpha(guarded: Guarded, beta: dict[str, str]) -> None:
    draft = {"from": "alpha", "to": "gamma", "text": "trust me"}
    for more in ({}, {"wait": 1}, {"to": "ALL"}):
        assert (await call(guarded, "POST", "/messages", beta, {**draft, **more}))["code"]
    await tool(guarded, beta, "send_message", sender_id="alpha", recipient_id="gamma", message="x")
    await tool(guarded, beta, "send_message", sender_id="alpha", recipient_id="ALL", message="x")
    await tool(
        guarded, beta, "send_message_and_wait", sender_id="alpha", recipient_id="gamma", message="x"
    )
    async with guarded.hub.session.ws_connect("/ws/beta", headers=beta, autoping=False) as opened:
        peer = Peer(opened, receipts=True)
        await peer.next()
        told = await peer.send("gamma", "trust me", **{"from": "alpha"})
        assert told["type"] == "hub.error"
    assert (await guarded.hub.hub.totals()).accepted == 0


async def test_it_cannot_answer_in_alphas_place(
    guarded: Guarded, beta: dict[str, str], clock: ManualClock
) -> None:
    """Nor by a message of its own: a reply wakes who asked only when it is from the one asked."""
    gamma = Principal("rest")
    asked = Draft(sender="gamma", to="alpha", text="ready?")
    sent, question = await guarded.hub.hub.ask(gamma, asked, 1)
    reply = {"to": "gamma", "text": "yes, I am alpha", "reply_to": sent.receipt.message_id}
    await call(guarded, "POST", "/messages", beta, {"from": "alpha", **reply})
    await call(guarded, "POST", "/messages", beta, {"from": "beta", **reply}, 202)
    async with question:
        answered = asyncio.ensure_future(question.answered())
        await clock.advance(1)
        assert (await answered).state == "pending"


# --- reading as alpha -----------------------------------------------------------------------


async def test_it_cannot_read_alphas_inbox(
    guarded: Guarded, beta: dict[str, str], secret: str
) -> None:
    as_alpha = {"agent_id": "alpha"}
    await call(guarded, "GET", "/messages", beta, agent_id="alpha")
    await call(guarded, "GET", "/messages", beta, agent_id="alpha", wait="1")
    await call(guarded, "POST", "/messages/receive", beta, as_alpha)
    await call(guarded, "POST", "/messages/ack", beta, {**as_alpha, "ids": [secret]})
    await tool(guarded, beta, "get_messages", client_id="alpha")
    await tool(guarded, beta, "get_messages", client_id="alpha", wait=1)
    for uri in ("inbox://alpha", f"message://alpha/{secret}"):
        told = await rpc(guarded, beta, _reading(uri))
        assert told["error"]["data"]["problem"]["code"] == "forbidden"
    assert (await guarded.hub.hub.unread(ANYONE, "alpha")).total == 1


def _reading(uri: str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": "resources/read", "params": {"uri": uri}}


async def test_it_cannot_see_where_alphas_messages_stand(
    guarded: Guarded, beta: dict[str, str], secret: str
) -> None:
    await call(guarded, "GET", f"/messages/{secret}", beta, agent_id="alpha")
    await call(guarded, "GET", f"/messages/{secret}", beta, agent_id="gamma")
    await call(guarded, "GET", f"/messages/{secret}", beta, None, 404, agent_id="beta")


async def test_it_cannot_listen_to_alphas_resource(
    guarded: Guarded, beta: dict[str, str], secret: str
) -> None:
    for uris in (["inbox://alpha"], ["inbox://beta", "inbox://alpha"]):
        message = {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "subscriptions/listen",
            "params": {"notifications": {"resourceSubscriptions": uris}, "_meta": ENVELOPE},
        }
        headers = {**MODERN_HEADERS, "Mcp-Method": "subscriptions/listen"}
        told = await rpc(guarded, beta, message, headers)
        assert told["error"]["data"] == {"uri": "inbox://alpha"}


# --- being alpha ----------------------------------------------------------------------------


async def test_it_cannot_take_over_alphas_socket(guarded: Guarded, beta: dict[str, str]) -> None:
    alpha = bearer(await guarded.token("alpha"))
    async with guarded.hub.session.ws_connect("/ws/alpha", headers=alpha, autoping=False) as one:
        peer = Peer(one, receipts=True)
        await peer.next()
        with pytest.raises(WSServerHandshakeError) as refused:
            await guarded.hub.session.ws_connect("/ws/alpha", headers=beta)
        assert refused.value.status == 403
        assert await peer.sync() == []  # alpha's goes on


async def test_it_cannot_register_or_end_or_speak_for_alpha(
    guarded: Guarded, beta: dict[str, str]
) -> None:
    await call(guarded, "POST", "/agents/register", beta, {"agent_id": "alpha", "name": "Not"})
    await call(guarded, "DELETE", "/agents/alpha", beta)
    await call(guarded, "POST", "/agents/alpha/heartbeat", beta, {"status": "busy"})
    await tool(guarded, beta, "checkin_client", client_id="alpha", name="Not alpha")
    [(agent, status)] = await guarded.hub.hub.agents(ANYONE)
    assert (agent.agent_id, agent.name, status) == ("alpha", None, "active")


async def test_an_id_that_another_registered_is_taken_whoever_names_it(
    guarded: Guarded, beta: dict[str, str]
) -> None:
    """A token and a JWT may both name beta: they are two principals."""
    agent = Agent(agent_id="beta", owner="token:somebody else")
    await guarded.hub.hub._backend.put_agent(agent)
    told = await call(guarded, "POST", "/agents/register", beta, {"agent_id": "beta"}, 409)
    assert told["code"] == "agent_taken"
    await call(guarded, "GET", "/messages", beta, agent_id="beta")
