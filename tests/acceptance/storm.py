"""Hubs are killed under load, one after the other."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from random import Random

from tests.acceptance.load.checker import Findings
from tests.acceptance.load.running import loading
from tests.acceptance.node import Node


async def storm(
    folder: Path,
    hubs: list[Node],
    *,
    kills: int,
    messages: int,
    senders: int,
    readers: int,
    by: str = "rest",
) -> Findings:
    """Kill one hub after the other at random moments while so many messages are sent and read.

    `by` is how: rest, or a socket with receipts (auto) or acks by hand (manual).
    """
    random = Random(kills)
    async with loading(folder, *(hub.url for hub in hubs)) as load:
        await load.start(by, readers)
        await load.start("send", senders, "--readers", str(readers))
        for moment in sorted(random.sample(range(messages // kills // 2, messages), kills)):
            await load.until(partial(load.has_accepted, moment))
            hub = random.choice(hubs)
            await hub.kill()
            await hub.start()
        await load.until(partial(load.has_accepted, messages))
        await load.stop("send")
        await load.until(load.has_read_all)
        await load.stop(by)
        findings = load.findings()
    print(  # noqa: T201
        f"{len(findings.accepted)} accepted, {len(findings.read)} read, "
        f"{findings.read_again} of them again, {len(findings.refused)} calls refused or cut off, "
        f"ready after {' '.join(f'{start:.2f}' for hub in hubs for start in hub.starts)} s"
    )
    return findings
