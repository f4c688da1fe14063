"""A plain WebSocket client and curl, against `python server.py`."""

from __future__ import annotations

import asyncio
import json
import shutil
from asyncio.subprocess import PIPE

import pytest

from tests.acceptance.process import HubProcess, hub_process
from tests.patience import PATIENCE
from tests.web.peer import connected, post


async def curl(hub: HubProcess, body: object) -> dict[str, object]:
    """What a user types into a terminal."""
    program = shutil.which("curl")
    if program is None:
        pytest.skip("needs curl")
    url = f"{hub.url}/api/v1/messages"
    header = "Content-Type: application/json"
    process = await asyncio.create_subprocess_exec(
        *(program, "-q", "-s", "-X", "POST", url, "-H", header, "-d", json.dumps(body)), stdout=PIPE
    )
    out, _ = await process.communicate()
    answer = json.loads(out)
    assert isinstance(answer, dict)
    return answer


async def test_a_message_sent_by_curl_arrives_at_a_plain_client() -> None:
    async with hub_process() as hub, hub.session.ws_connect("/ws/alpha-01RXGe86") as alpha:
        assert (await alpha.receive_json())["type"] == "hub.welcome"
        await alpha.send_json({"type": "heartbeat"})
        body = {"from": "beta-01TYEi4M", "to": "alpha-01RXGe86", "message": "Hello Alpha!"}
        answer = await curl(hub, body)
        assert answer["success"] is True
        message = await alpha.receive_json(timeout=PATIENCE)
        assert (message["id"], message["text"]) == (answer["message_id"], "Hello Alpha!")
        body["message"] = {"type": "task_proposal", "task": "review"}  # type: ignore[assignment]
        await curl(hub, body)
        message = await alpha.receive_json(timeout=PATIENCE)
        assert (message["type"], message["payload"]["task"]) == ("task_proposal", "review")


async def test_messages_sent_while_away_come_in_order_and_once_if_read_to_their_receipt() -> None:
    texts = [str(number) for number in range(30)]
    async with hub_process("--rate-limit", "0") as hub:
        async with hub.session.ws_connect("/ws/alpha") as alpha:
            await alpha.receive()
        await post(hub, "alpha", *texts, sender="beta")
        async with connected(hub, "alpha") as reader:
            frames = await reader.frames(30)
            await reader.sync()  # reads on: the receipt's ping comes before the barrier's pong
            await reader.sync()
        assert [frame["text"] for frame in frames] == texts
        assert {frame["attempt"] for frame in frames} == {1}
        async with connected(hub, "alpha") as reader:
            assert await reader.sync() == []


async def test_messages_not_read_to_their_receipt_come_again_and_say_so() -> None:
    texts = [str(number) for number in range(30)]
    async with hub_process("--rate-limit", "0") as hub:
        await post(hub, "alpha", *texts, sender="beta")
        async with connected(hub, "alpha", receipts=False) as reader:
            first = await reader.frames(30)
        async with connected(hub, "alpha") as reader:
            again = await reader.frames(30)
    assert [frame["attempt"] for frame in first] == [1] * 30
    assert again == [{**frame, "attempt": 2} for frame in first]
