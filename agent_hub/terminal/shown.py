"""What the hub says, as lines for people and as JSON for programs.

Words of others go to a terminal, which obeys more than letters.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import msgspec

from agent_hub.client import Accepted, Agent, Answer, HubError, Message
from agent_hub.core.visible import clean

OPTIONAL = {"traceparent", "broadcast", "state"}
"""What the doors leave out of a message that does not have it."""
NOT_LET_IN = {"unauthenticated", "bad_credential", "no_credential"}


# --- for people -----------------------------------------------------------------------------


def one_line(text: str) -> str:
    """What a reader would see of it. No text can look like a line of somebody else's."""
    return clean(text).replace("\n", "\\n")


def message(shown: Message) -> str:
    """One line: whose it is, what is unusual about it, and what it says."""
    marks = [shown.type] if shown.type != "message" else []
    if shown.attempt > 1:
        marks.append("perhaps seen before")
    marked = f" ({', '.join(marks)})" if marks else ""
    return f"{shown.sender}{marked}: {one_line(content(shown))}"


def content(shown: Message) -> str:
    """The text, and the payload as JSON."""
    told = json.dumps(shown.payload, ensure_ascii=False) if shown.payload else ""
    return clean(" ".join(filter(None, (shown.text, told))))


def agents(found: Sequence[Agent]) -> Iterator[str]:
    """A line for each, in columns."""
    width = max((len(agent.agent_id) for agent in found), default=0)
    for agent in found:
        name = agent.name if agent.name != agent.agent_id else None
        told = one_line(": ".join(filter(None, (name, ", ".join(agent.capabilities)))))
        yield f"{agent.agent_id:<{width}}  {agent.status:<7}  {told}".rstrip()


def doubts(accepted: Accepted, to: str) -> Iterator[str]:
    """What the sender of a message should know of those who are to have it."""
    recipient = accepted.recipient
    if recipient is not None and not recipient.known:
        similar = " or ".join(recipient.did_you_mean)
        meant = f"; did you mean {similar}?" if similar else ""
        yield f"nobody has registered as {to} yet; the message waits{meant}"
    elif recipient is not None and recipient.status == "offline":
        yield f"{to} is offline; the message waits until {_until(accepted)}"
    elif accepted.accepted_count == 0:
        yield "nobody else is here to have it"
    for refused in accepted.rejected:
        yield f"not accepted for {refused.agent_id}: {refused.code}"


def _until(accepted: Accepted) -> str:
    return "it expires" if accepted.expires_at is None else _time(accepted.expires_at)


def refusal(error: HubError) -> str:
    """One line: what kind of trouble, and what the hub says of it."""
    advice = "; AGENT_HUB_TOKEN must hold a good token" if error.code in NOT_LET_IN else ""
    return one_line(f"{error}{advice}")


# --- for programs ---------------------------------------------------------------------------


def message_as_json(shown: Message) -> str:
    """As the doors show it."""
    return _line(_fields(shown))


def payload(shown: Message) -> str:
    """The payload alone."""
    return _line(shown.payload)


def answer_as_json(answer: Answer) -> str:
    """As the REST door answers a question: in a crossed one the other's stands as `reply`."""
    reply = answer.reply or answer.question
    told = {"message_id": answer.message_id, "status": answer.status}
    return _line({**told, "reply": reply and _fields(reply), "cursor": answer.cursor})


def as_json(shown: Accepted | Agent) -> str:
    """An agent, or a receipt with all that one can have."""
    return _line(msgspec.to_builtins(shown, builtin_types=(datetime,)))


def _fields(shown: Message) -> dict[str, Any]:
    fields = msgspec.to_builtins(shown, builtin_types=(datetime,))
    return {name: value for name, value in fields.items() if value or name not in OPTIONAL}


def _line(fields: Any) -> str:
    # ASCII alone, the rest escaped: nothing in it means anything to a terminal.
    return json.dumps(fields, default=_time)


def _time(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
