"""What a model is told about the five tools, and what they take.

The input schemas are generated from the types that decode the arguments, so they cannot differ.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

import msgspec
from mcp_types import Tool, ToolAnnotations
from msgspec import Meta, Struct

from agent_hub.core.errors import Fault, Invalid
from agent_hub.wire.strict_json import fault_of

_T = TypeVar("_T")

MyId = Annotated[str, Meta(description="your own id: my_id in mcp_recipients.json")]
Content = Annotated[
    str | dict[str, Any], Meta(description="what to say", extra_json_schema={"type": "string"})
]
Recipient = Annotated[str, Meta(description="an id in recipients of mcp_recipients.json")]
ReplyTo = Annotated[str | None, Meta(description="id of the message you answer")]
Key = Annotated[
    str | None, Meta(description="any text of your own; repeat a failed call with the same one")
]


class CheckinClient(Struct, forbid_unknown_fields=True):
    """Join the hub and see who else is here. Call it once when you start to work."""

    client_id: MyId
    name: Annotated[str, Meta(description="what people call you")]
    # Any: never a reason to refuse.
    capabilities: Annotated[
        Any, Meta(description="what you can do, with commas", extra_json_schema={"type": "string"})
    ] = ""


class SendMessage(Struct, forbid_unknown_fields=True):
    """Send a message to another agent and go on with your work. It waits in the recipient's inbox
    until it is read, also while the recipient is offline. To answer a message, set reply_to to
    its id: the sender may be waiting for exactly that."""

    sender_id: MyId
    recipient_id: Annotated[
        str, Meta(description="an id in recipients of mcp_recipients.json, or ALL")
    ]
    message: Content
    reply_to: ReplyTo = None
    ttl: Annotated[float | None, Meta(description="seconds to keep it unread")] = None
    idempotency_key: Key = None


class SendMessageAndWait(Struct, forbid_unknown_fields=True):
    """Ask one agent and wait for its reply. The result's status is replied; or pending: do not
    ask again, the reply will come in get_messages; or crossed: the other agent is asking you at
    the same time, so answer its question with send_message and reply_to first."""

    sender_id: MyId
    recipient_id: Recipient
    message: Content
    timeout: Annotated[float, Meta(description="seconds, up to 300")] = 60
    reply_to: ReplyTo = None
    idempotency_key: Key = None


class GetMessages(Struct, forbid_unknown_fields=True):
    """Read the messages that wait for you, oldest first. Each is handed out once. Do it before
    you begin, between steps and when a result says that messages are unread. Answer with
    send_message and reply_to. If a call failed or its result was lost, call again with the
    cursor that you saw last as since."""

    client_id: MyId
    since: Annotated[
        str | None, Meta(description="a cursor: also shows again what was read after it")
    ] = None
    wait: Annotated[float, Meta(description="seconds to wait for mail, up to 50")] = 0


# Some clients give a tool without parameters one of their own, and let the model fill it in.
class GetMyIdentity(Struct):
    """How to find out who you are: your id and whom you can write to stand in the file
    mcp_recipients.json in the root of your project. Shows an example of that file."""


TOOLS: dict[str, type[Struct]] = {
    "checkin_client": CheckinClient,
    "send_message": SendMessage,
    "send_message_and_wait": SendMessageAndWait,
    "get_messages": GetMessages,
    "get_my_identity": GetMyIdentity,
}

_OPTIONAL = {
    name: {field.encode_name for field in msgspec.structs.fields(arguments) if not field.required}
    for name, arguments in TOOLS.items()
}

_HINTS = {
    "checkin_client": ToolAnnotations(
        title="Check in", destructive_hint=False, idempotent_hint=True, open_world_hint=True
    ),
    "send_message": ToolAnnotations(
        title="Send a message",
        destructive_hint=False,
        idempotent_hint=False,
        open_world_hint=True,
    ),
    "send_message_and_wait": ToolAnnotations(
        title="Ask and wait", destructive_hint=False, idempotent_hint=False, open_world_hint=True
    ),
    # Reading takes the messages out of the inbox, so it is not read-only.
    "get_messages": ToolAnnotations(
        title="Read messages", destructive_hint=False, idempotent_hint=False, open_world_hint=True
    ),
    "get_my_identity": ToolAnnotations(
        title="Who am I", read_only_hint=True, idempotent_hint=True, open_world_hint=False
    ),
}

# No property is required: clients hold a refusal, which is the problem object of REST, against
# the same schema.
_TEXT = {"type": "string"}
_NUMBER = {"type": "integer"}
_MESSAGE = {
    "type": "object",
    "properties": {
        **dict.fromkeys(("id", "from", "type", "text", "timestamp", "cursor"), _TEXT),
        "reply_to": {"type": ["string", "null"]},
        "payload": {"type": "object"},
        "attempt": _NUMBER,
        "truncated": {"type": "boolean"},
    },
}
_ACCEPTED = {
    "success": {"type": "boolean"},
    "message_id": _TEXT,
    "expires_at": _TEXT,
    "durability": _TEXT,
    "unread": _NUMBER,
}
_ANSWERS: dict[str, dict[str, Any]] = {
    "checkin_client": {
        "success": {"type": "boolean"},
        "agent_id": _TEXT,
        "peers": {"type": "array", "items": {"type": "object"}},
        "unread": _NUMBER,
    },
    "send_message": {
        **_ACCEPTED,
        "recipient": {"type": "object"},
        "accepted_count": _NUMBER,
        "rejected": {"type": "array"},
    },
    "send_message_and_wait": {
        **_ACCEPTED,
        "status": {"description": "replied, pending or crossed"},
        "reply": {"anyOf": [_MESSAGE, {"type": "null"}]},
        "cursor": {"type": ["string", "null"]},
    },
    "get_messages": {
        "messages": {"type": "array", "items": _MESSAGE},
        "cursor": {"type": ["string", "null"]},
        "recovered": {"type": "boolean"},
        "unread": _NUMBER,
    },
    "get_my_identity": {
        "file": _TEXT,
        "example": {"type": "object"},
        "caller": {"type": "object"},
    },
}


def tools() -> list[Tool]:
    """The five tools as `tools/list` shows them."""
    return [
        Tool(
            name=name,
            description=" ".join((arguments.__doc__ or "").split()),
            input_schema=_input_schema(arguments),
            output_schema={"type": "object", "properties": _ANSWERS[name]},
            annotations=_HINTS[name],
        )
        for name, arguments in TOOLS.items()
    ]


def _input_schema(arguments: type[Struct]) -> dict[str, Any]:
    _, found = msgspec.json.schema_components([arguments])
    schema: dict[str, Any] = found[arguments.__name__]
    properties = {name: _plain(field) for name, field in schema["properties"].items()}
    return {
        "type": "object",
        "properties": properties,
        "required": schema["required"],
        "additionalProperties": False,
    }


def _plain(field: dict[str, Any]) -> dict[str, Any]:
    """Without `null` and unions, which some models' tool schemas do not know; both are taken."""
    options = field.pop("anyOf", None)
    if options is not None and "type" not in field:
        field["type"] = options[0]["type"]
    if field.get("default", ...) in (None, ""):
        del field["default"]
    return field


def decode(name: str, given: dict[str, Any] | None) -> Struct:
    """The arguments of the tool of that name. Raises Invalid naming the field.

    A number in quotes is a number, and what may be left out is left out where it is null or empty:
    models write all of these.
    """
    filled = {
        argument: value
        for argument, value in (given or {}).items()
        if not (value in (None, "") and argument in _OPTIONAL[name])
    }
    try:
        return msgspec.convert(filled, TOOLS[name], strict=False)
    except msgspec.ValidationError as error:
        raise Invalid.of([fault_of(str(error), TOOLS[name])]) from None


def in_words_of(error: Invalid, names: dict[str, str]) -> Invalid:
    """The same refusal with pointers into the tool's own arguments."""
    faults = [Fault(names.get(at, at), detail) for at, detail in error.faults]
    return Invalid.of(faults) if faults else error
