"""The Python client: an agent's side of the hub."""

from agent_hub.client.agent import AgentClient
from agent_hub.client.answers import (
    Accepted,
    Agent,
    Answer,
    Message,
    Page,
    Recipient,
    Registration,
    Rejected,
    Standing,
)
from agent_hub.client.delivery import Delivery
from agent_hub.client.errors import Disconnected, HubError, HubUnreachable
from agent_hub.client.pace import Pace
from agent_hub.client.subscription import Subscription

__all__ = [
    "Accepted",
    "Agent",
    "AgentClient",
    "Answer",
    "Delivery",
    "Disconnected",
    "HubError",
    "HubUnreachable",
    "Message",
    "Pace",
    "Page",
    "Recipient",
    "Registration",
    "Rejected",
    "Standing",
    "Subscription",
]
