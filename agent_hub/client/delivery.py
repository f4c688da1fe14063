"""One message in a reader's hands."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from agent_hub.client.answers import Message
from agent_hub.client.handed import Handed
from agent_hub.client.rest import Rest


class Source(Protocol):
    """Where a delivery came from, and where its fate is reported."""

    async def ack(self, message_id: str) -> None: ...

    async def release(self, message_id: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message that is this reader's until it is acked or released.

    `gap`: messages before this one may be missing; the hub lost or forgot some since the cursor
    that this stream resumed from.
    """

    message: Message
    source: Source = field(repr=False)
    gap: bool = False

    async def ack(self) -> None:
        """Done with it: the hub no longer owes this message.

        Not so once its stream is closed: the hub has it back then, and hands it out again.
        """
        await self.source.ack(self.message.id)

    async def release(self) -> None:
        """Give it back: the hub hands it out again, and gives up after more than 5 times."""
        await self.source.release(self.message.id)


class Lease:
    """Messages taken by one `receive`."""

    def __init__(self, rest: Rest, agent_id: str, lease_id: str | None, handed: Handed) -> None:
        self._rest = rest
        self._names = {"agent_id": agent_id, "lease_id": lease_id}
        self._handed = handed

    async def ack(self, message_id: str) -> None:
        self._handed.settle(message_id)
        await self._rest.call("POST", "/messages/ack", body={**self._names, "ids": [message_id]})

    async def release(self, message_id: str) -> None:
        body = {**self._names, "release": [message_id]}
        await self._rest.call("POST", "/messages/ack", body=body)
