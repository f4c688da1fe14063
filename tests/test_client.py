"""The client: who an agent is, and what it remembers."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from agent_hub.client import AgentClient, Message
from agent_hub.client.buffer import Buffer
from agent_hub.client.handed import Handed


@pytest.mark.parametrize(
    ("name", "session_id", "agent_id"),
    [
        ("Beta", "01TYEi4Mjf2Tft2SWjjVtdQ3", "beta-01TYEi4M"),
        ("Code  Reviewer (EU)", "abc", "code-reviewer-eu-abc"),
        ("Ångström", "s1", "angstrom-s1"),
        ("x" * 128, "0123456789", "x" * 55 + "-01234567"),
        ("Beta", "a/b c?d", "beta-a-b-c-d"),
    ],
)
def test_an_id_is_made_of_the_name_and_the_start_of_the_session(
    name: str, session_id: str, agent_id: str
) -> None:
    assert AgentClient(name=name, session_id=session_id).agent_id == agent_id


def test_a_given_id_is_taken_as_it_is() -> None:
    assert AgentClient(agent_id="Beta.1", name="Other", session_id="s").agent_id == "Beta.1"


@pytest.mark.parametrize(
    ("name", "session_id"), [(None, None), ("Beta", None), (None, "s1"), ("日本", "s1"), ("B", "?")]
)
def test_without_an_id_and_without_what_makes_one_the_client_says_what_is_missing(
    name: str | None, session_id: str | None
) -> None:
    with pytest.raises(ValueError, match="agent_id, or name and session_id"):
        AgentClient(name=name, session_id=session_id)


@pytest.mark.parametrize("agent_id", ["", "ALL", "hub", "-a", "a/b", "a" * 65])
def test_an_id_that_no_agent_can_have_is_refused(agent_id: str) -> None:
    with pytest.raises(ValueError, match="cannot be an agent id"):
        AgentClient(agent_id=agent_id)


def test_a_url_that_is_not_http_is_refused() -> None:
    with pytest.raises(ValueError, match="http://"):
        AgentClient("localhost:8080", agent_id="beta")


def test_a_client_remembers_a_bounded_number_of_messages() -> None:
    handed = Handed(limit=2)
    for message_id in ("a", "b", "c"):
        assert handed.take(message_id)
    assert handed.take("a")
    assert not handed.take("c")


def test_what_was_settled_is_remembered_and_what_was_held_can_be_forgotten() -> None:
    handed = Handed()
    handed.take("held")
    handed.take("settled")
    handed.settle("settled")
    handed.forget_held()
    assert handed.is_settled("settled")
    assert handed.take("held")


async def test_a_full_buffer_takes_more_only_when_something_was_taken_out() -> None:
    buffer = Buffer(room=1)
    await buffer.put(message("m_1"))
    putting = asyncio.create_task(buffer.put(message("m_2")))
    await asyncio.sleep(0)
    assert not putting.done()
    assert (await buffer.get()).id == "m_1"
    await putting
    assert (await buffer.get()).id == "m_2"


def message(message_id: str) -> Message:
    now = datetime.now(UTC)
    return Message(
        id=message_id,
        sender="alpha",
        to="beta",
        type="message",
        seq=1,
        cursor="e:1",
        timestamp=now,
        expires_at=now,
    )
