"""A client is killed in the middle of a flood, comes back with its cursor, and misses nothing."""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.process import HubProcess, hub_process
from tests.web.peer import Frame, connected

READER = Path(__file__).parent / "reader.py"
SENDERS = 8
MESSAGES = 900


async def flood(hub: HubProcess, sender: str, texts: list[str]) -> int:
    """Send as fast as it goes; how often the sender was refused and tried again."""
    refused = 0
    for text in texts:
        body = {"from": sender, "to": "reader", "text": text}
        while True:
            async with hub.session.post("/api/v1/messages", json=body) as response:
                if response.status == 202:
                    break
                assert response.status == 429, await response.text()
            refused += 1
            await asyncio.sleep(0.02)
    return refused


async def read_until_killed(hub: HubProcess, count: int) -> list[Frame]:
    """What a client process saw before SIGKILL hit it after so many messages."""
    url = hub.url.replace("http:", "ws:") + "/ws/reader?events=none"
    process = await asyncio.create_subprocess_exec(sys.executable, str(READER), url, stdout=PIPE)
    assert process.stdout is not None
    lines = [await process.stdout.readline() for _ in range(count + 1)]
    process.kill()
    lines += (await process.stdout.read()).splitlines(keepends=True)
    await process.wait()
    whole = [line for line in lines if line.endswith(b"\n")]
    return [json.loads(line) for line in whole[1:]]


async def read_the_rest(hub: HubProcess, seen: list[Frame], **query: Any) -> list[Frame]:
    """Read on until all was seen, here or there."""
    missing = MESSAGES - len({frame["id"] for frame in seen})
    known = {frame["id"] for frame in seen}
    frames: list[Frame] = []
    async with connected(hub, "reader", **query) as reader:
        while missing:
            frames.append(await reader.next())
            missing -= frames[-1]["id"] not in known
            known.add(frames[-1]["id"])
    return frames


@pytest.mark.parametrize(
    "killed_after",
    [300, *(pytest.param(count, marks=pytest.mark.soak) for count in (1, 63, 64, 65, 600, 899))],
)
async def test_killed_in_a_flood_a_client_that_comes_back_misses_nothing(
    killed_after: int,
) -> None:
    async with hub_process("--rate-limit", "0") as hub:
        share = [[f"{s}:{n}" for n in range(s, MESSAGES, SENDERS)] for s in range(SENDERS)]
        reading = asyncio.ensure_future(read_until_killed(hub, killed_after))
        while not await known(hub, "reader"):
            pass
        sending = [
            asyncio.ensure_future(flood(hub, f"sender-{number}", texts))
            for number, texts in enumerate(share)
        ]
        before = await reading
        after = await read_the_rest(hub, before, since=before[-1]["cursor"])
        await asyncio.gather(*sending)
        async with connected(hub, "reader") as reader:
            after += await reader.sync()
    check(before, after)


async def known(hub: HubProcess, agent_id: str) -> bool:
    async with hub.session.get(f"/api/v1/agents/{agent_id}") as response:
        return response.status == 200


def check(before: list[Frame], after: list[Frame]) -> None:
    """None missing, first deliveries in order, duplicates marked."""
    frames = before + after
    seen: dict[str, Frame] = {}
    for frame in frames:
        if frame["id"] in seen:
            assert frame["attempt"] > 1, "a duplicate that does not say so"
            assert {**frame, "attempt": 0} == {**seen[frame["id"]], "attempt": 0}
        else:
            seen[frame["id"]] = frame
    assert [frame["seq"] for frame in seen.values()] == list(range(1, MESSAGES + 1))
    for sender in range(SENDERS):
        own = [f["text"] for f in seen.values() if f["from"] == f"sender-{sender}"]
        assert own == [f"{sender}:{n}" for n in range(sender, MESSAGES, SENDERS)]
    firsts = [frame["seq"] for frame in frames if frame["attempt"] == 1]
    assert firsts == sorted(firsts)
