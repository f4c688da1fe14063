"""Reading an inbox, in JSON."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from agent_hub.core.errors import Invalid
from agent_hub.core.hub import SettledCounts
from agent_hub.core.queue_backend import Page
from agent_hub.core.taking import Leased
from agent_hub.wire.agents import AgentId
from agent_hub.wire.messages import MessageView, MessageWithState, view, view_with_state


class ReceiveBody(Struct, forbid_unknown_fields=True):
    """Take messages. `ack` is auto or manual; `wait` and `lease` are in seconds."""

    agent_id: AgentId
    limit: int = 50
    wait: float = 0.0
    ack: str = "auto"
    lease: float = 30.0

    @property
    def is_manual(self) -> bool:
        if self.ack not in ("auto", "manual"):
            raise Invalid.at("/ack", "auto or manual")
        return self.ack == "manual"


class AckBody(Struct, forbid_unknown_fields=True):
    """Settle messages by id; release and extend need the lease that holds them."""

    agent_id: AgentId
    ids: list[str] = []
    release: list[str] = []
    extend: list[str] = []
    lease_id: str | None = None
    lease: float = 30.0


class PageAnswer(Struct):
    """`total` counts all that match, `cursor` is the position after the last one shown."""

    messages: list[MessageWithState]
    total: int
    cursor: str | None
    recovered: bool


class ReceiveAnswer(Struct):
    messages: list[MessageView]
    lease_id: str
    cursor: str | None


class AckAnswer(Struct):
    acked: int
    released: int
    extended: int


def page_answer(page: Page) -> PageAnswer:
    return PageAnswer(
        [view_with_state(delivery) for delivery in page.deliveries],
        page.total,
        None if page.cursor is None else str(page.cursor),
        page.recovered,
    )


def receive_answer(leased: Leased) -> ReceiveAnswer:
    return ReceiveAnswer(
        [view(delivery) for delivery in leased.deliveries],
        leased.lease_id,
        None if leased.cursor is None else str(leased.cursor),
    )


def ack_answer(counts: SettledCounts) -> AckAnswer:
    return AckAnswer(counts.acked, counts.released, counts.extended)


decode_receive = msgspec.json.Decoder(ReceiveBody)
decode_ack = msgspec.json.Decoder(AckBody)
