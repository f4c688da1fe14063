"""Opening a socket: the welcome, the plain client, what is refused before the upgrade."""

from __future__ import annotations

import pytest
from aiohttp import WSServerHandshakeError

from tests.clock import ManualClock
from tests.server import running_hub
from tests.web.peer import connected, look, post


async def test_the_first_frame_is_the_welcome_in_the_shape_of_the_contract() -> None:
    async with running_hub() as hub, connected(hub, "beta") as beta:
        assert beta.welcome == {
            "type": "hub.welcome",
            "from": "hub",
            "agent_id": "beta",
            "cursor": None,
            "recovered": False,
            "heartbeat_seconds": 30,
            "durability": "process",
        }


async def test_the_welcome_of_an_inbox_with_mail_names_the_position_before_it() -> None:
    async with running_hub() as hub:
        answer = await post(hub, "beta", "one", "two")
        async with connected(hub, "beta") as beta:
            assert beta.welcome["cursor"] == f"{answer['epoch']}:0"


async def test_opening_a_socket_registers_the_agent_under_its_id() -> None:
    async with (
        running_hub() as hub,
        connected(hub, "beta"),
        hub.session.get("/api/v1/agents/beta") as response,
    ):
        agent = await response.json()
    assert (agent["agent_id"], agent["name"], agent["status"]) == ("beta", "beta", "active")


async def test_opening_a_socket_leaves_a_registration_as_it_is() -> None:
    async with running_hub() as hub:
        registration = {"agent_id": "beta", "name": "Beta", "capabilities": ["review"]}
        async with hub.session.post("/api/v1/agents/register", json=registration):
            pass
        async with (
            connected(hub, "beta"),
            hub.session.get("/api/v1/agents/beta") as response,
        ):
            agent = await response.json()
    assert (agent["name"], agent["capabilities"]) == ("Beta", ["review"])


async def test_a_message_has_every_key_of_the_contract_and_those_of_older_clients() -> None:
    async with running_hub() as hub, connected(hub, "beta") as beta:
        sent = await post(hub, "beta", "Hello")
        message = await beta.next()
    expected = "id seq from to type text payload reply_to timestamp expires_at attempt cursor"
    assert list(message) == expected.split()
    assert message["id"] == sent["message_id"]
    assert message["cursor"] == f"{sent['epoch']}:1"
    assert message["expires_at"] == sent["expires_at"]
    assert {key: message[key] for key in ("seq", "from", "to", "type", "text", "payload")} == {
        "seq": 1,
        "from": "alpha",
        "to": "beta",
        "type": "message",
        "text": "Hello",
        "payload": {},
    }
    assert (message["reply_to"], message["attempt"]) == (None, 1)


async def test_a_plain_client_needs_no_protocol(clock: ManualClock) -> None:
    async with (
        running_hub(clock=clock) as hub,
        hub.session.ws_connect("/ws/beta") as beta,
    ):
        assert (await beta.receive_json())["type"] == "hub.welcome"
        await beta.send_json({"type": "heartbeat"})
        await post(hub, "beta", "one", "two")
        assert [(await beta.receive_json())["text"] for _ in range(2)] == ["one", "two"]


async def test_owed_mail_comes_first_and_then_the_live_one_in_order() -> None:
    async with running_hub() as hub:
        await post(hub, "beta", "one", "two", "three")
        async with connected(hub, "beta") as beta:
            await post(hub, "beta", "four", "five")
            frames = await beta.frames(5)
    assert [frame["text"] for frame in frames] == ["one", "two", "three", "four", "five"]
    assert [frame["seq"] for frame in frames] == [1, 2, 3, 4, 5]
    assert {frame["attempt"] for frame in frames} == {1}


async def test_a_broadcast_copy_says_that_it_is_one() -> None:
    async with running_hub() as hub, connected(hub, "beta") as beta:
        await post(hub, "ALL", "everybody")
        message = await beta.next()
    assert (message["to"], message["broadcast"]) == ("beta", True)


async def test_a_traceparent_travels_with_the_message() -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    async with running_hub() as hub, connected(hub, "a") as a, connected(hub, "b") as b:
        await a.send("b", traceparent=trace)
        assert (await b.next())["traceparent"] == trace


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("ack=perhaps", "?ack"),
        ("events=some", "?events"),
        ("since=yesterday", "?since"),
        ("max_in_flight=0", "?max_in_flight"),
        ("max_in_flight=1001", "?max_in_flight"),
        ("max_in_flight=many", "?max_in_flight"),
        ("sinse=1", "?sinse"),
    ],
)
async def test_a_wrong_word_in_the_query_is_refused_before_the_upgrade(
    query: str, field: str
) -> None:
    async with running_hub() as hub:
        with pytest.raises(WSServerHandshakeError) as refused:
            await hub.session.ws_connect(f"/ws/beta?{query}")
        assert refused.value.status == 422
        async with hub.session.get(f"/ws/beta?{query}", headers=UPGRADE) as response:
            problem = await response.json(content_type="application/problem+json")
        assert [fault["pointer"] for fault in problem["errors"]] == [field]
        assert hub.hub.open_subscriptions == 0
        assert hub.hub.registered_agents == 0


@pytest.mark.parametrize("agent_id", ["ALL", "hub", "a b", ".", "x" * 65, "%00", "-beta"])
async def test_what_cannot_name_an_agent_cannot_open_a_socket(agent_id: str) -> None:
    async with running_hub() as hub:
        with pytest.raises(WSServerHandshakeError) as refused:
            await hub.session.ws_connect(f"/ws/{agent_id}")
        assert refused.value.status in (404, 422)
        assert hub.hub.registered_agents == 0


async def test_a_plain_get_of_a_socket_is_told_to_upgrade_and_disturbs_nobody() -> None:
    async with running_hub() as hub, connected(hub, "beta") as beta:
        async with hub.session.get("/ws/beta") as response:
            assert response.status == 422
            assert "ws://" in (await response.json(content_type=None))["detail"]
        assert await beta.sync() == []
        assert hub.hub.open_subscriptions == 1


async def test_looking_at_an_inbox_takes_nothing_from_its_socket() -> None:
    async with running_hub() as hub, connected(hub, "beta", receipts=False) as beta:
        await post(hub, "beta", "one")
        assert await beta.texts(1) == ["one"]
        assert [message["state"] for message in await look(hub, "beta")] == ["leased"]


UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


async def test_a_head_request_opens_no_socket_and_disturbs_nobody() -> None:
    async with running_hub() as hub, connected(hub, "beta") as beta:
        async with hub.session.head("/ws/beta", headers=UPGRADE) as response:
            assert response.status == 422
        assert await beta.sync() == []
        assert hub.hub.open_subscriptions == 1


async def test_the_upgrade_carries_the_name_of_its_request() -> None:
    headers = {"X-Request-Id": "mine-1"}
    async with (
        running_hub() as hub,
        hub.session.ws_connect("/ws/beta", headers=headers) as socket,
    ):
        assert socket._response.headers["X-Request-Id"] == "mine-1"
