"""Agents in JSON."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from agent_hub.core.agent import (
    MAX_CAPABILITIES,
    MAX_CAPABILITY_CHARACTERS,
    MAX_METADATA_BYTES,
    MAX_NAME_CHARACTERS,
    MAX_SESSION_ID_CHARACTERS,
    Agent,
    Status,
)
from agent_hub.core.bounds import HEARTBEAT_SECONDS
from agent_hub.core.errors import Invalid
from agent_hub.core.message import AGENT_ID_PATTERN, RESERVED_IDS
from agent_hub.core.registry import SAID, Registered
from agent_hub.wire.strict_json import compact
from agent_hub.wire.times import Time, rfc3339

# The rules are the core's; what stands here tells a reader of the documentation about them.
AgentId = Annotated[
    str,
    Meta(
        extra_json_schema={
            "pattern": AGENT_ID_PATTERN,
            "not": {"enum": sorted(RESERVED_IDS)},
        },
        examples=["beta-01TYEi4M"],
    ),
]
JsonObject = Annotated[Raw, Meta(extra_json_schema={"type": "object"})]
Metadata = Annotated[
    Raw,
    Meta(
        description=f"an object of the agent's own, at most {MAX_METADATA_BYTES} bytes",
        extra_json_schema={"type": "object", "default": {}},
    ),
]
AgentStatus = Annotated[str, Meta(extra_json_schema={"enum": [*Status]})]
OwnStatus = Annotated[str, Meta(extra_json_schema={"enum": [*SAID]})]
# `label`: text without control and invisible characters.
Name = Annotated[
    str,
    Meta(
        extra_json_schema={"format": "label", "minLength": 1, "maxLength": MAX_NAME_CHARACTERS},
        examples=["Beta"],
    ),
]
SessionId = Annotated[
    str,
    Meta(
        extra_json_schema={
            "format": "label",
            "minLength": 1,
            "maxLength": MAX_SESSION_ID_CHARACTERS,
        }
    ),
]
Capability = Annotated[
    str,
    Meta(
        extra_json_schema={
            "format": "label",
            "minLength": 1,
            "maxLength": MAX_CAPABILITY_CHARACTERS,
        },
        examples=["analysis"],
    ),
]
Capabilities = Annotated[list[Capability], Meta(extra_json_schema={"maxItems": MAX_CAPABILITIES})]


class RegisterBody(Struct, forbid_unknown_fields=True):
    """A registration. `session_id` is an opaque label, never a credential."""

    agent_id: AgentId
    session_id: SessionId | None = None
    name: Name | None = None
    capabilities: Capabilities = []
    metadata: Metadata | UnsetType = UNSET

    def to_agent(self) -> Agent:
        return Agent(
            agent_id=self.agent_id,
            session_id=self.session_id,
            name=self.name,
            capabilities=tuple(self.capabilities),
            metadata=b"{}" if self.metadata is UNSET else json_object(self.metadata, "/metadata"),
        )


class HeartbeatBody(Struct, forbid_unknown_fields=True):
    """A sign of life, with a new status if given."""

    status: OwnStatus | None = None


class AgentView(Struct):
    """A registered agent as others see it."""

    agent_id: str
    session_id: str | None
    name: str | None
    status: AgentStatus
    capabilities: tuple[str, ...]
    last_heartbeat: Time
    registered_at: Time
    metadata: JsonObject


class AgentsAnswer(Struct):
    """The registered agents, oldest first."""

    agents: list[AgentView]
    total: int


class RegisterAnswer(Struct):
    """Registered. Give a sign of life every `heartbeat_seconds`; `peers` are the others."""

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
        status=status,
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
