"""The hub is killed under load, again and again: on SQLite nothing that it accepted is lost."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from agent_hub.client import AgentClient, Message, Pace
from tests.acceptance.node import Node, nodes
from tests.acceptance.storm import storm
from tests.patience import PATIENCE
from tests.shell import Shell, end

ONE_TRY = Pace(tries=1, shortest=0.05, longest=0.1)


@pytest.mark.parametrize(
    ("kills", "messages", "senders", "readers"),
    [
        pytest.param(3, 1_500, 8, 4, marks=pytest.mark.slow),
        pytest.param(20, 50_000, 32, 16, marks=pytest.mark.soak),
    ],
)
async def test_killed_under_load_a_hub_on_sqlite_loses_nothing(
    kills: int, messages: int, senders: int, readers: int, tmp_path: Path
) -> None:
    async with nodes(tmp_path, 1, "--backend", f"sqlite:///{tmp_path}/hub.db") as hubs:
        findings = await storm(
            *(tmp_path, hubs), kills=kills, messages=messages, senders=senders, readers=readers
        )
    findings.check()
    findings.check_acked()
    assert {sent["durability"] for sent in findings.accepted.values()} == {"disk"}


async def kill_while_it_is_asked(hub: Node) -> Message:
    """The question to alpha, which answers it when the hub is back."""
    async with AgentClient(hub.url, agent_id="alpha", pace=ONE_TRY) as alpha:
        async with asyncio.timeout(PATIENCE):
            question = (await anext(alpha.deliveries())).message
        await hub.kill()
        await hub.start()
        await alpha.send_message("beta", "yes", reply_to=question.id)
        owed = await alpha.messages()
        assert {one.id for one in owed.messages} <= {question.id}, "it was asked a second time"
        return question


async def test_a_question_outlives_its_hub_and_is_asked_once(tmp_path: Path) -> None:
    sqlite = ("--backend", f"sqlite:///{tmp_path}/hub.db")
    async with (
        nodes(tmp_path, 1, *sqlite) as [hub],
        AgentClient(hub.url, agent_id="beta", pace=ONE_TRY) as beta,
    ):
        asking = asyncio.create_task(beta.ask("alpha", "ready?", timeout=300))
        question = await kill_while_it_is_asked(hub)
        async with asyncio.timeout(PATIENCE):
            answer = await asking
    assert (answer.message_id, answer.text) == (question.id, "yes")


@pytest.mark.slow
async def test_a_question_from_a_shell_outlives_its_hub(tmp_path: Path) -> None:
    sqlite = ("--backend", f"sqlite:///{tmp_path}/hub.db")
    ask = ("ask", "--from", "beta", "alpha", "ready?", "--timeout", "300", "--json")
    async with nodes(tmp_path, 1, *sqlite) as [hub], Shell(hub.url).running(*ask) as asking:
        question = await kill_while_it_is_asked(hub)
        code, out, err = await end(asking)
    assert (code, err) == (0, "")
    answer = json.loads(out)
    assert (answer["message_id"], answer["reply"]["text"]) == (question.id, "yes")
