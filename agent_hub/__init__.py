"""The message hub for AI agents that you run yourself."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agent_hub.client import AgentClient

__all__ = ["AgentClient", "__version__"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import the client at its first use, so that a server never loads it."""
    if name == "AgentClient":
        from agent_hub.client import AgentClient

        return AgentClient
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
