"""What has come due in inboxes that nobody touches, and what is over."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Iterable
from typing import Any

from agent_hub.core.errors import BackendUnavailable
from agent_hub.core.mail import Backlog, Totals
from agent_hub.queue_backends.redis.codec import decode_counts
from agent_hub.queue_backends.redis.keys import LAYOUT
from agent_hub.queue_backends.redis.shared import Shared
from agent_hub.queue_backends.redis.store import Store
from agent_hub.redis_way.damage import Damage

VISITS_AT_ONCE = 200
"""Inboxes to a pipeline: a hundredth of a second of Redis."""
INBOXES_AT_ONCE = 5_000
"""Names to a page: at most a third of a megabyte."""
ROUND_SECONDS = 60.0
"""Every inbox is visited so often, due or not: what a crash cut off is found then."""
TELL_SECONDS = 90
"""How long after its last scrape a group of processes stays the one that shows the totals."""
LEAD_SECONDS = 5
"""How long a node that is silent stays the one that sweeps."""


class Sweeper:
    """Transitions say when they have to be followed up; this goes there. One node does it for
    all; `is_watched` tells of an inbox whether somebody reads it here.
    """

    def __init__(self, store: Store, is_watched: Callable[[str], bool]) -> None:
        self._store = store
        self._keys = store.keys
        self._is_watched = is_watched
        self._name = secrets.token_hex(8)
        self._round_at = 0.0
        self._lives = Shared(self._count_lives)
        self._unswept = Damage("the inbox of %s cannot be swept")
        self._uncounted = Damage("the inbox of %s cannot be counted")
        self._unfolded = Damage("what is set aside of %s cannot join the sums")

    async def tells(self, group: str) -> bool:
        """Whether this process, or another of its group, is the one that shows the totals."""
        (tells,) = await self._store.hub_call("tell", group, TELL_SECONDS)
        return bool(tells)

    async def leads(self) -> bool:
        """Whether this is the node that sweeps and tells senders; with a test's time, always."""
        if self._store.clock is not None:
            return True
        (leads,) = await self._store.hub_call("lead", self._name, LEAD_SECONDS)
        return bool(leads)

    async def sweep(self) -> None:
        if not await self.leads():
            return
        for visited in _slices(await self._due()):
            await self._visit(visited)
            await self.leads()  # still, after what may have been thousands
        now = self._now()
        if now >= self._round_at:
            self._round_at = now + ROUND_SECONDS
            await self._go_round()

    def _now(self) -> float:
        clock = self._store.clock
        return asyncio.get_running_loop().time() if clock is None else clock.monotonic()

    async def _due(self) -> list[tuple[str, bool]]:
        """The inboxes to be visited, and whether their agents are registered."""
        due: dict[str, bool] = {}
        while True:
            found = await self._store.hub_call("visits", VISITS_AT_ONCE)
            due.update((found[at].decode(), bool(found[at + 1])) for at in range(0, len(found), 2))
            if len(found) < 2 * VISITS_AT_ONCE:
                return list(due.items())

    async def _visit(self, inboxes: list[tuple[str, bool]]) -> None:
        registered = dict(inboxes)
        await self._unswept.ask_each(
            registered, lambda agent_id: self._visit_if_there(agent_id, registered[agent_id])
        )

    async def _visit_if_there(self, agent_id: str, registered: bool) -> None:
        """One on a node of a cluster that is gone is visited in a later round."""
        with contextlib.suppress(BackendUnavailable):
            await self._visit_one(agent_id, registered)

    async def _visit_one(self, agent_id: str, registered: bool) -> None:
        use = "registered" if registered else "watched" if self._is_watched(agent_id) else ""
        answer = await self._store.call("sweep", agent_id, use)
        if answer[0] == b"over":
            await self._store.shielded(self._drop(agent_id, *answer[1:]))
        elif answer[0] == b"absent":
            await self._strike(agent_id)

    async def _drop(self, agent_id: str, epoch: bytes, counts: bytes, box: bytes) -> None:
        """Let an inbox go. What it counted is set aside first, and joins the sums afterwards:
        cut off in between, it is found there.
        """
        life = f"{agent_id} {epoch.decode()}"
        await self._store.hub_call("set_aside", life, counts)
        (dropped,) = await self._store.call("drop", agent_id, box)
        await self._store.hub_call("fold", life, dropped)
        if dropped:
            await self._strike(agent_id)

    async def _strike(self, agent_id: str) -> None:
        """Out of the index, unless it is there again."""
        _, _, there = await self._store.ask(
            (
                ("SREM", self._keys.hub("inboxes"), agent_id),
                ("SREM", self._keys.hub("nobodys"), agent_id),
                ("EXISTS", self._keys(agent_id, "box")),
            )
        )
        if there:
            self._store.index(agent_id)

    # --- all of them ----------------------------------------------------------------------

    async def _go_round(self) -> None:
        every = await self._inboxes()
        for some in _slices(every):
            asked = tuple(("HEXISTS", self._keys.hub("agents"), agent_id) for agent_id in some)
            registered = await self._store.ask(asked)
            await self._visit([(a, bool(r)) for a, r in zip(some, registered, strict=True)])
            await self.leads()
        await self._fold_left_overs()
        self._store.tell(self._store.hub_script("layout", LAYOUT))  # a flush takes it too

    async def _inboxes(self) -> list[str]:
        """Page by page: no answer holds up what others asked."""
        found: set[bytes] = set()
        cursor = b"0"
        while True:
            page = ("SSCAN", self._keys.hub("inboxes"), cursor, "COUNT", INBOXES_AT_ONCE)
            ((cursor, some),) = await self._store.ask((page,))
            found.update(some)
            if cursor == b"0":
                return [agent_id.decode() for agent_id in found]

    async def _fold_left_overs(self) -> None:
        (fields,) = await self._store.ask((("HKEYS", self._keys.hub("folding")),))
        await self._unfolded.ask_each([field.decode() for field in fields], self._fold_left_over)

    async def _fold_left_over(self, life: str) -> None:
        agent_id, epoch = life.split(" ")
        counted = await self._count(agent_id)
        over = not counted or counted[0].decode() != epoch
        await self._store.hub_call("fold", life, int(over))

    async def totals(self) -> Totals:
        """Each inbox is counted in one transition, so that what it accepted is always somewhere.

        The sums come last: an inbox that was dropped meanwhile is in them, and one that was
        counted before it was dropped is told by its life.
        """
        (folds,) = await self._store.ask((("GET", self._keys.hub("folds")),))
        lives = dict(await self._lives())  # whoever shares the count has it whole
        sums, folding, folded = await self._store.hub_call("sums", folds or 0)
        totals = Totals()
        _add(totals, {sums[at].decode(): int(sums[at + 1]) for at in range(0, len(sums), 2)})
        for life in folded:
            lives.pop(life.decode(), None)
        for counts, where in lives.values():
            _add(totals, decode_counts(counts))
            _place(totals, where)
        for at in range(0, len(folding), 2):
            if folding[at].decode() not in lives:  # dropped, and not in the sums yet
                _add(totals, decode_counts(folding[at + 1]))
        return totals

    async def backlogs(self) -> list[Backlog]:
        every = (_backlog(life, where) for life, (_, where) in (await self._lives()).items())
        return [backlog for backlog in every if backlog.messages]

    async def _count_lives(self) -> dict[str, tuple[bytes, list[Any]]]:
        """What each inbox counted, and how many are where in it; of those that can be read."""
        lives = {}
        for some in _slices(await self._inboxes()):
            for agent_id, parts in await self._uncounted.ask_each(some, self._count):
                if parts:
                    epoch, counts, *where = parts
                    lives[f"{agent_id} {epoch.decode()}"] = (counts, where)
        return lives

    async def _count(self, agent_id: str) -> list[Any]:
        return await self._store.call("totals", agent_id)


def _add(totals: Totals, counts: dict[str, int]) -> None:
    """`counts` by the names that `box.lua` gives them."""
    for name, count in counts.items():
        match name.split(" "):
            case ["accepted", via, kind]:
                totals.accepted += count
                by_door = totals.accepted_by
                by_door[via, kind] = by_door.get((via, kind), 0) + count
            case ["acked", mode]:
                totals.acked += count
                totals.acked_by[mode] = totals.acked_by.get(mode, 0) + count
            case [end]:
                setattr(totals, end, getattr(totals, end) + count)


def _place(totals: Totals, where: list[Any]) -> None:
    ready, leased, kept, _, oldest_at, now = where
    totals.inboxes += 1
    totals.ready += ready
    totals.leased += leased
    totals.kept += kept
    if oldest_at:
        age = float(now) - float(oldest_at)
        totals.oldest_ready_age = max(totals.oldest_ready_age, age)


def _backlog(life: str, where: list[Any]) -> Backlog:
    ready, leased, _, owed_bytes, oldest_at, _ = where
    return Backlog(
        agent_id=life.split(" ", maxsplit=1)[0],
        ready=ready,
        leased=leased,
        bytes=owed_bytes,
        oldest_at=float(oldest_at) if oldest_at else None,
    )


def _slices(every: list[Any]) -> Iterable[list[Any]]:
    return (every[at : at + VISITS_AT_ONCE] for at in range(0, len(every), VISITS_AT_ONCE))
