"""What a call will need, told before the SDK has it: MCP answers a missing scope by HTTP.

The rule itself is the core's, and is asked there for every call. This is only so that a client
gets the status and the challenge that let it ask its user for more (MCP authorization, "scope
challenge handling"); a tool's own refusal would be a result that only the model reads.
"""

from __future__ import annotations

from typing import Any

from agent_hub.core.message import ALL
from agent_hub.core.principal import Principal, Scope

OF_TOOLS: dict[str, tuple[Scope, ...]] = {
    "checkin_client": (Scope.REGISTER,),
    "send_message": (Scope.SEND,),
    "send_message_and_wait": (Scope.SEND, Scope.READ),
    "get_messages": (Scope.READ,),
    "get_my_identity": (),
}
OF_METHODS: dict[str, tuple[Scope, ...]] = {"subscriptions/listen": (Scope.READ,)}
AGENTS = "agents:"


def must_have(caller: Principal, message: Any) -> None:
    """Raise InsufficientScope for a JSON-RPC message that this caller cannot have answered."""
    if not caller.is_anyone:
        for scope in _needed(message):
            caller.must_have(scope)


def _needed(message: Any) -> tuple[Scope, ...]:
    method, params = _member(message, "method"), _member(message, "params")
    if method == "tools/call":
        return _of_tool(_member(params, "name"), _member(params, "arguments"))
    if method == "resources/read":
        uri = _member(params, "uri")
        is_list = isinstance(uri, str) and uri.startswith(AGENTS)
        return (Scope.LIST,) if is_list else (Scope.READ,)
    return OF_METHODS.get(method, ()) if isinstance(method, str) else ()


def _of_tool(name: Any, arguments: Any) -> tuple[Scope, ...]:
    if name == "send_message" and _member(arguments, "recipient_id") == ALL:
        return (Scope.BROADCAST,)
    return OF_TOOLS.get(name, ()) if isinstance(name, str) else ()


def _member(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None
