"""Reading an inbox, in JSON."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from agent_hub.core.agent import Status
from agent_hub.core.bounds import (
    DEFAULT_LEASE_SECONDS,
    MAX_LEASE_SECONDS,
    MAX_READ_WAIT_SECONDS,
    MAX_RECEIVED,
    MAX_SETTLED_IDS,
    MIN_LEASE_SECONDS,
    check_lease,
)
from agent_hub.core.errors import Invalid
from agent_hub.core.mail import Backlog, Page
from agent_hub.core.overview import Inboxes
from agent_hub.core.reading import SettledCounts
from agent_hub.core.taking import Leased
from agent_hub.wire.agents import AgentId, AgentStatus
from agent_hub.wire.messages import (
    CursorText,
    MessageView,
    MessageWithState,
    view,
    view_with_state,
)
from agent_hub.wire.times import Time, rfc3339

ReadSeconds = Annotated[
    float,
    Meta(
        description="seconds to wait while there is nothing",
        extra_json_schema={"minimum": 0, "maximum": MAX_READ_WAIT_SECONDS},
    ),
]
LeaseSeconds = Annotated[
    float,
    Meta(
        description="seconds",
        extra_json_schema={"minimum": MIN_LEASE_SECONDS, "maximum": MAX_LEASE_SECONDS},
    ),
]
Ids = Annotated[list[str], Meta(extra_json_schema={"maxItems": MAX_SETTLED_IDS})]
AckMode = Annotated[
    str,
    Meta(
        description="auto: acked once the answer is written; manual: leased until acked",
        extra_json_schema={"enum": ["auto", "manual"]},
    ),
]


class ReceiveBody(Struct, forbid_unknown_fields=True):
    """Take messages, oldest first."""

    agent_id: AgentId
    limit: Annotated[int, Meta(extra_json_schema={"minimum": 1, "maximum": MAX_RECEIVED})] = 50
    wait: ReadSeconds = 0.0
    ack: AckMode = "auto"
    lease: LeaseSeconds = DEFAULT_LEASE_SECONDS

    @property
    def lease_seconds(self) -> float | None:
        """None when the answer itself acks; a lease that cannot be is refused all the same."""
        if self.ack not in ("auto", "manual"):
            raise Invalid.at("/ack", "auto or manual")
        check_lease(self.lease)
        return self.lease if self.ack == "manual" else None


class AckBody(Struct, forbid_unknown_fields=True):
    """Settle messages by id: `ids` are acked. Release and extend need the lease that holds them."""

    agent_id: AgentId
    ids: Ids = []
    release: Ids = []
    extend: Ids = []
    lease_id: str | None = None
    lease: LeaseSeconds = DEFAULT_LEASE_SECONDS


SettleBody = Annotated[
    AckBody,
    Meta(
        extra_json_schema={
            "anyOf": [
                {"properties": {name: {"maxItems": 0} for name in ("release", "extend")}},
                {"required": ["lease_id"], "properties": {"lease_id": {"type": "string"}}},
            ]
        }
    ),
]


class PageAnswer(Struct):
    """`total` counts all that match, `cursor` is the position after the last one shown."""

    messages: list[MessageWithState]
    total: int
    cursor: CursorText | None
    recovered: Annotated[
        bool, Meta(description="nothing newer than `since` was lost or is no longer kept")
    ]


class ReceiveAnswer(Struct):
    """What was taken. `lease_id` settles it, `cursor` is the position after it."""

    messages: list[MessageView]
    lease_id: str
    cursor: CursorText | None


class AckAnswer(Struct):
    """How many messages were settled; unknown ids and other readers' leases do not count."""

    acked: int
    released: int
    extended: int


class InboxView(Struct):
    """What one inbox owes. `known`: its agent is registered; else it is shown as offline."""

    agent_id: str
    known: bool
    status: AgentStatus
    ready: int
    leased: int
    bytes: Annotated[int, Meta(description="of content, without the hub's notices")]
    oldest_at: Annotated[Time | None, Meta(description="of the oldest ready message")]


class InboxesAnswer(Struct):
    """Inboxes with ready or leased messages; `total` counts all of them."""

    inboxes: list[InboxView]
    total: int


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


def inboxes_answer(found: Inboxes) -> InboxesAnswer:
    return InboxesAnswer([_inbox(*one) for one in found.shown], found.total)


def _inbox(backlog: Backlog, status: Status | None) -> InboxView:
    return InboxView(
        agent_id=backlog.agent_id,
        known=status is not None,
        status=status or Status.OFFLINE,
        ready=backlog.ready,
        leased=backlog.leased,
        bytes=backlog.bytes,
        oldest_at=None if backlog.oldest_at is None else rfc3339(backlog.oldest_at),
    )


decode_receive = msgspec.json.Decoder(ReceiveBody)
decode_ack = msgspec.json.Decoder(AckBody)
