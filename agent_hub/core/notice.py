"""The notice that tells a sender what was not delivered."""

from __future__ import annotations

import json

from msgspec import Struct

from agent_hub.core.mail import Undelivered
from agent_hub.core.message import HUB, UNDELIVERED, Message


class Notice(Struct):
    """What one sender has still to be told about one recipient.

    `message_ids` names the first ones, up to the limit; `count` counts all.
    """

    recipient: str
    count: int
    message_ids: list[str]
    reasons: dict[str, int]

    @classmethod
    def about(cls, recipient: str) -> Notice:
        return cls(recipient, 0, [], {})

    def add(self, ended: Undelivered, max_ids: int) -> bool:
        """Take one more ending in; False if it is known to be in already."""
        if ended.message_id in self.message_ids:
            return False
        self.count += 1
        self.reasons[ended.state] = self.reasons.get(ended.state, 0) + 1
        if len(self.message_ids) < max_ids:
            self.message_ids.append(ended.message_id)
        return True

    def message(
        self, message_id: str, seq: int, sender: str, accepted_at: float, ttl: float
    ) -> Message:
        """What the sender gets to read, from the hub."""
        return Message(
            message_id,
            seq,
            HUB,
            sender,
            UNDELIVERED,
            self.text,
            self.payload,
            None,
            None,
            False,
            accepted_at,
            ttl,
        )

    @property
    def text(self) -> str:
        """For a person or a model to read."""
        noun = "message" if self.count == 1 else "messages"
        reasons = ", ".join(f"{count} {state}" for state, count in sorted(self.reasons.items()))
        return f"{self.count} {noun} to {self.recipient} not delivered ({reasons})"

    @property
    def payload(self) -> bytes:
        """The same as one compact JSON object."""
        fields = {
            "recipient": self.recipient,
            "count": self.count,
            "message_ids": self.message_ids,
            "reasons": self.reasons,
        }
        return json.dumps(fields, separators=(",", ":")).encode()
