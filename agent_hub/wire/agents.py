"""Agents in JSON."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta, Raw, Struct

from agent_hub.core.agent import Agent, Status
from agent_hub.core.errors import Invalid
from agent_hub.core.hub import HEARTBEAT_SECONDS, Registered
from agent_hub.core.message import AGENT_ID_PATTERN
from agent_hub.wire.strict_json import compact
from agent_hub.wire.times import rfc3339

AgentId = Annotated[
    str, Meta(extra_json_schema={"pattern": AGENT_ID_PATTERN, "examples": ["beta-01TYEi4M"]})
]
JsonObject = Annotated[Raw, Meta(extra_json_schema={"type": "object"})]


class RegisterBody(Struct, forbid_unknown_fields=True):
    """A registration. `session_id` is an opaque label, never a credential."""

    agent_id: AgentId
    session_id: str | None = None
    name: str | None = None
    capabilities: list[str] = []
    metadata: JsonObject = Raw(b"{}")

    def to_agent(self) -> Agent:
        return Agent(
            agent_id=self.agent_id,
            session_id=self.session_id,
            name=self.name,
            capabilities=tuple(self.capabilities),
            metadata=json_object(self.metadata, "/metadata"),
        )


class HeartbeatBody(Struct, forbid_unknown_fields=True):
    """A sign of life, with a new status (active, idle or busy) if given."""

    status: str | None = None


class AgentView(Struct):
    """A registered agent as others see it."""

    agent_id: str
    session_id: str | None
    name: str | None
    status: str
    capabilities: tuple[str, ...]
    last_heartbeat: str
    registered_at: str
    metadata: JsonObject


class AgentsAnswer(Struct):
    agents: list[AgentView]
    total: int


class RegisterAnswer(Struct):
    success: bool
    agent_id: str
    websocket_url: str
    peers: list[AgentView]
    heartbeat_seconds: int


def view(agent: Agent, status: Status) -> AgentView:
    return AgentView(
        agent_id=agent.agent_id,
        session_id=agent.session_id,
        name=agent.name,
        status=status.value,
        capabilities=agent.capabilities,
        last_heartbeat=rfc3339(agent.last_seen),
        registered_at=rfc3339(agent.registered_at),
        metadata=Raw(agent.metadata),
    )


def views(agents: list[tuple[Agent, Status]]) -> list[AgentView]:
    return [view(agent, status) for agent, status in agents]


def register_answer(registered: Registered) -> RegisterAnswer:
    agent_id = registered.agent.agent_id
    return RegisterAnswer(
        success=True,
        agent_id=agent_id,
        websocket_url=f"/ws/{agent_id}",
        peers=views(registered.peers),
        heartbeat_seconds=int(HEARTBEAT_SECONDS),
    )


def agents_answer(agents: list[tuple[Agent, Status]]) -> AgentsAnswer:
    return AgentsAnswer(agents=views(agents), total=len(agents))


def json_object(raw: Raw, pointer: str) -> bytes:
    """A raw value, which must be an object, in its compact form. Raises Invalid."""
    text = bytes(raw).lstrip()
    if not text.startswith(b"{"):
        raise Invalid.at(pointer, "expected an object")
    return compact(text)


decode_register = msgspec.json.Decoder(RegisterBody)
decode_heartbeat = msgspec.json.Decoder(HeartbeatBody)
