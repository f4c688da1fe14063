"""Where each message went, for its sender to ask."""

from __future__ import annotations

from agent_hub.queue_backends.inbox import Inbox


class Whereabouts:
    """The inboxes that still know something of a message; copies of a broadcast share their id."""

    def __init__(self) -> None:
        self._inboxes: dict[str, Inbox | dict[str, Inbox]] = {}  # most messages went into one

    def __contains__(self, message_id: str) -> bool:
        return message_id in self._inboxes

    def add(self, message_id: str, inbox: Inbox) -> None:
        before = self._inboxes.get(message_id)
        if before is None or before is inbox:
            self._inboxes[message_id] = inbox
        elif isinstance(before, dict):
            before[inbox.agent_id] = inbox
        else:
            self._inboxes[message_id] = {before.agent_id: before, inbox.agent_id: inbox}

    def forget(self, message_id: str, agent_id: str) -> None:
        """The inbox of this agent knows nothing of a message any more."""
        inboxes = self._inboxes.get(message_id)
        if isinstance(inboxes, dict):
            inboxes.pop(agent_id, None)
        if not (isinstance(inboxes, dict) and inboxes):
            self._inboxes.pop(message_id, None)

    def of(self, message_id: str) -> list[Inbox]:
        inboxes = self._inboxes.get(message_id)
        if isinstance(inboxes, dict):
            return list(inboxes.values())
        return [] if inboxes is None else [inboxes]

    def at(self, message_id: str, agent_id: str) -> Inbox | None:
        """The inbox of this agent, if the message went there."""
        found = self._inboxes.get(message_id)
        inbox = found.get(agent_id) if isinstance(found, dict) else found
        return inbox if inbox is not None and inbox.agent_id == agent_id else None
