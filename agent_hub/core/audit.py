"""Who did what to whom: the record of every call, for whoever has to answer for it.

Ids, sizes, digests and outcomes; never what a message says, and never a credential.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Coroutine, Sequence
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from msgspec import Struct

from agent_hub.core.agent import Agent
from agent_hub.core.errors import HubError
from agent_hub.core.message import ALL, Delivery, Draft, is_agent_id, is_message_id
from agent_hub.core.principal import Principal

DONE = "ok"
UNKNOWN = "unknown"
MAX_IDS = 1_000
NO_ID = "(no id)"
P = ParamSpec("P")
T = TypeVar("T")


class Record(Struct, kw_only=True, omit_defaults=True):
    """One act. `outcome` is ok, the code of the refusal, or unknown where the call was cut off.

    `subject` is empty for a caller whom nobody asked who it was; `credential` names the proof that
    it showed.

    `agent` is in whose name it was done, `to` whom it concerned. `size` is in bytes; `sha256` is
    of the text, a zero byte, and the payload as the hub keeps it.
    """

    action: str
    outcome: str
    subject: str = ""
    credential: str = ""
    via: str = ""
    peer: str = ""
    agent: str | None = None
    to: str | None = None
    message_ids: list[str] = []
    count: int | None = None
    size: int | None = None
    sha256: str | None = None


class Audit:
    """Takes records; this one keeps none. `is_kept` says whether another does."""

    is_kept = False

    def record(self, record: Record) -> None:
        """Keep it. Never waits, and never fails: what is done is done."""

    def delivered(self, via: str, deliveries: Sequence[Delivery]) -> None:
        """Messages were handed over to their recipient."""
        if self.is_kept:
            for delivery in deliveries:
                message = delivery.message
                self.record(
                    Record(
                        action="deliver",
                        outcome=DONE,
                        via=via,
                        agent=message.to,
                        message_ids=[message.id],
                        count=delivery.attempt,
                    )
                )

    def of(
        self,
        action: str,
        call: Callable[Concatenate[Principal, P], Coroutine[Any, Any, T]],
        facts: Callable[..., dict[str, Any]],
    ) -> Callable[Concatenate[Principal, P], Coroutine[Any, Any, T]]:
        """The call, recorded however it ends; the call itself where nothing is kept.

        `facts` are asked with the call's own arguments behind its result, None for a refusal.
        """
        if not self.is_kept:
            return call

        @wraps(call)
        async def recorded(caller: Principal, /, *args: P.args, **kwargs: P.kwargs) -> T:
            try:
                result = await call(caller, *args, **kwargs)
            except HubError as refusal:
                self._record(action, caller, facts(None, *args, **kwargs), refusal.code)
                raise
            except BaseException:  # cut off, or a bug: it may have happened
                self._record(action, caller, facts(None, *args, **kwargs), UNKNOWN)
                raise
            self._record(action, caller, facts(result, *args, **kwargs), DONE)
            return result

        return recorded

    def _record(self, action: str, caller: Principal, facts: dict[str, Any], outcome: str) -> None:
        self.record(
            Record(
                **{
                    "action": action,
                    "outcome": outcome,
                    "subject": caller.subject,
                    "credential": caller.credential,
                    "via": caller.via,
                    "peer": caller.peer,
                    **facts,
                }
            )
        )


# --- what is told of each call --------------------------------------------------------------


def of_agent(result: object, agent_id: str, *args: object, **more: object) -> dict[str, Any]:
    """A call in an agent's name that needs no more to be said."""
    return {"agent": _id(agent_id)}


def of_registration(result: object, agent: Agent) -> dict[str, Any]:
    return {"agent": _id(agent.agent_id)}


def of_draft(result: Any, draft: Draft, *args: object) -> dict[str, Any]:
    """A message, a question (its result is a pair) or a broadcast."""
    facts: dict[str, Any] = {
        "agent": _id(draft.sender),
        "to": _id(draft.to),
        "size": draft.size,
        "sha256": _digest(draft),
    }
    sent = result[0] if isinstance(result, tuple) else result
    if sent is None:
        return facts
    receipt = getattr(sent, "receipt", None)
    if receipt is not None:
        return {**facts, "message_ids": [receipt.message_id]}
    return {**facts, "message_ids": [sent.message_id], "count": sent.accepted_count}


def of_settling(result: object, agent_id: str, **more: Any) -> dict[str, Any]:
    named = [*more.get("ack", ()), *more.get("release", ()), *more.get("extend", ())]
    return {"agent": _id(agent_id), "message_ids": [_message_id(one) for one in named[:MAX_IDS]]}


def of_standing(result: object, agent_id: str, message_id: str) -> dict[str, Any]:
    return {"agent": _id(agent_id), "message_ids": [_message_id(message_id)]}


def of_listing(result: Any, *args: object, **more: object) -> dict[str, Any]:
    return {} if result is None else {"count": len(result)}


def of_inboxes(result: Any, **more: object) -> dict[str, Any]:
    return {} if result is None else {"count": len(result.shown)}


def _id(named: str) -> str:
    """An agent's id; what is none can be anything, even what somebody meant to say."""
    return named if named == ALL or is_agent_id(named) else NO_ID


def _message_id(named: str) -> str:
    return named if is_message_id(named) else NO_ID


def _digest(draft: Draft) -> str:
    digest = hashlib.sha256(draft.text.encode())
    digest.update(b"\0" + draft.payload)
    return digest.hexdigest()
