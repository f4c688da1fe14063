"""What a scrape says: the names that operators know, few series, sums that hold."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from agent_hub.core.agent import Agent
from agent_hub.core.errors import BackendUnavailable, InboxFull
from agent_hub.core.limits import Limits
from agent_hub.core.principal import Principal
from agent_hub.queue_backends.measured import OPERATIONS, measured
from agent_hub.queue_backends.memory import MemoryBackend
from tests.backends.mail import letter
from tests.clock import ManualClock
from tests.core.calls import Counted, draft
from tests.prometheus.scraping import Samples, balance, scrape, text_of
from tests.server import RunningHub, running_hub
from tests.web.caller import Caller

REFERENCE = Path(__file__).parent.parent.parent / "docs" / "metrics.md"

NAMES = {
    "messages_accepted_total": {"via", "kind"},
    "messages_rejected_total": {"reason"},
    "messages_delivered_total": {"via", "redelivered"},
    "messages_acked_total": {"mode"},
    "messages_expired_total": set(),
    "messages_dead_total": set(),
    "messages_dropped_total": set(),
    "message_delivery_seconds": {"le"},
    "message_ack_seconds": {"le"},
    "inbox_messages": {"state"},
    "inbox_oldest_age_seconds": set(),
    "websocket_connections": set(),
    "websocket_closes_total": {"code"},
    "waits_inflight": set(),
    "waits_total": {"outcome"},
    "rate_limited_total": set(),
    "backend_up": set(),
    "backend_operation_seconds": {"op", "le"},
    "backend_errors_total": {"op"},
    "backend_commit_batch_messages": {"le"},
    "wakeups_total": {"source"},
    "event_loop_lag_seconds": set(),
    "agents": {"status"},
    "build_info": {"version", "python", "backend"},
    "http_request_duration_seconds": {"method", "route", "status", "le"},
}
"""All that is documented, with the labels."""

WRITERS = 500
ANYONE = Principal("rest", "127.0.0.1")


async def a_bit_of_everything(hub: RunningHub, agents: Iterable[str]) -> None:
    """What each door of a hub does with some agents, and what goes wrong."""
    rest = Caller(hub.session)
    for number, agent_id in enumerate(agents):
        await hub.hub.register(ANYONE, Agent(agent_id=agent_id))
        if number >= WRITERS:
            continue
        await hub.hub.send(ANYONE, draft(sender="beta", to=agent_id))
        await hub.hub.send(ANYONE, draft(sender=agent_id, to=f"{agent_id}.other"))
    await rest.send("beta", "ALL")
    await rest.send("beta", "alpha", "late", ttl=1)
    await rest.receive("alpha")
    taken = await rest.receive("gamma", ack="manual")
    ids = [message["id"] for message in taken["messages"]]
    await rest.ack("gamma", ids=ids[:1])
    await rest.post("/api/v1/messages", {"from": "-", "to": "b"}, status=422)
    await rest.get(f"/api/v1/agents/{next(iter(agents))}")
    async with hub.session.ws_connect("/ws/alpha") as socket:
        await socket.receive()


@pytest.fixture
def on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hubs of this test share a file."""
    monkeypatch.setenv("AGENT_HUB_BACKEND", f"sqlite:///{tmp_path}/hub.db")


@pytest.mark.usefixtures("on_disk")
async def test_every_documented_metric_is_told_with_its_labels() -> None:
    async with running_hub() as hub:
        await a_bit_of_everything(hub, ["alpha", "gamma"])
        text = await text_of(hub)
    families = {family.name: family for family in text_string_to_metric_families(text)}
    for name, labels in NAMES.items():
        family = families[f"agenthub_{name.removesuffix('_total')}"]
        assert family.documentation
        for sample in family.samples:
            assert set(sample.labels) <= labels, sample
    ours = {name for name in families if name.startswith("agenthub_")}
    assert ours == {f"agenthub_{name.removesuffix('_total')}" for name in NAMES}


async def test_the_reference_lists_every_metric_as_it_is_told() -> None:
    async with running_hub() as hub:
        text = await text_of(hub)
    families = {family.name: family for family in text_string_to_metric_families(text)}
    rows = []
    for name, labels in NAMES.items():
        family = families[f"agenthub_{name.removesuffix('_total')}"]
        shown = ", ".join(f"`{label}`" for label in sorted(labels - {"le"}))
        rows.append(f"| `agenthub_{name}` | {family.type} | {shown} | {family.documentation} |")
    assert "\n".join(rows) + "\n\n" in REFERENCE.read_text(encoding="utf-8")


@pytest.mark.parametrize("how", ["text", "openmetrics"])
async def test_what_is_told_can_be_read_by_the_formats_own_parser(how: str) -> None:
    async with running_hub() as hub:
        await a_bit_of_everything(hub, ["alpha", "gamma"])
        if how == "text":
            families = list(text_string_to_metric_families(await text_of(hub)))
        else:
            text = await text_of(hub, "application/openmetrics-text; version=1.0.0")
            families = list(openmetrics.text_string_to_metric_families(text))  # type: ignore[no-untyped-call]
    assert len(families) > len(NAMES)


@pytest.mark.slow
async def test_with_10000_agents_there_are_as_many_series_as_with_10(clock: ManualClock) -> None:
    series = []
    for count in (10, 10_000):
        async with running_hub(clock=clock) as hub:
            names = ["alpha", "gamma", *(f"agent-{number}" for number in range(count - 2))]
            await a_bit_of_everything(hub, names)
            told = await scrape(hub)
            assert told["agenthub_agents", ("status", "active")] == count
            series.append(told.keys())
    assert series[0] == series[1]


async def test_accepted_is_acked_and_lost_and_waiting_to_the_last_one(clock: ManualClock) -> None:
    limits = Limits(drop_oldest=True, inbox_messages=4)
    async with running_hub(clock=clock, backend=MemoryBackend(clock, limits)) as hub:
        rest = Caller(hub.session)
        await a_bit_of_everything(hub, ["alpha", "gamma"])
        for _ in range(8):
            await rest.send("beta", "crowded")
        await rest.send("beta", "unlucky")
        for _ in range(6):
            taken = await rest.receive("unlucky", ack="manual")
            ids = [message["id"] for message in taken["messages"]]
            await rest.ack("unlucky", release=ids, lease_id=taken["lease_id"])
        await clock.advance(400)
        told = await scrape(hub)
    assert balance(told) == 0
    for ended in ("expired", "dead", "dropped"):
        assert told[f"agenthub_messages_{ended}_total",] > 0, ended
    assert told["agenthub_messages_accepted_total", ("kind", "notice"), ("via", "hub")] > 0


@pytest.mark.usefixtures("on_disk")
async def test_the_sums_go_on_where_they_were_when_the_hub_starts_again() -> None:
    told: list[Samples] = []
    for _ in range(2):
        async with running_hub() as hub:
            told.append(await scrape(hub))
            await a_bit_of_everything(hub, ["alpha", "gamma"])
            told.append(await scrape(hub))
            assert balance(told[-1]) == 0
    new, first, again, second = told
    for name in (
        ("agenthub_messages_accepted_total", ("kind", "direct"), ("via", "rest")),
        ("agenthub_messages_accepted_total", ("kind", "broadcast"), ("via", "rest")),
        ("agenthub_messages_acked_total", ("mode", "manual")),
    ):
        assert new[name] == 0
        assert again[name] >= first[name] > 0
        assert second[name] - again[name] >= first[name]


class SecondNode(MemoryBackend):
    """Of two hubs on one store the one that does not tell its sums."""

    async def tells_totals(self) -> bool:
        return False


async def test_of_several_hubs_on_a_store_one_tells_its_sums(clock: ManualClock) -> None:
    store, second = MemoryBackend(clock), SecondNode(clock)
    vars(second).update(vars(store))
    async with (
        running_hub(clock=clock, backend=store) as one,
        running_hub(clock=clock, backend=second) as other,
    ):
        await Caller(one.session).send("beta", "alpha")
        await Caller(other.session).send("beta", "alpha")
        told, silent = await scrape(one), await scrape(other)
    assert told["agenthub_messages_accepted_total", ("kind", "direct"), ("via", "rest")] == 2
    assert told["agenthub_inbox_messages", ("state", "ready")] == 2
    names = {str(name) for name, *_ in silent}
    assert not [name for name in names if "accepted" in name or "inbox" in name]
    assert silent["agenthub_backend_up",] == 1


# --- the store's calls ----------------------------------------------------------------------


class TimedCalls(Counted):
    def operation(self, op: str, seconds: float) -> None:
        assert seconds >= 0
        self.counts[op] += 1

    def operation_failed(self, op: str) -> None:
        self.counts[f"{op} failed"] += 1


async def test_each_call_of_a_measured_store_is_timed_and_what_is_no_answer_is_counted(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics, store = TimedCalls(), MemoryBackend(clock, Limits(inbox_messages=1))
    faults = iter((BackendUnavailable("away"), RuntimeError("a bug")))

    async def look(*_: object) -> None:
        raise next(faults)

    monkeypatch.setattr(store, "look", look)
    backend = measured(store, metrics)
    await backend.open()
    await backend.send(letter("one"))
    with pytest.raises(InboxFull):
        await backend.send(letter("two"))
    for fault in (BackendUnavailable, RuntimeError):
        with pytest.raises(fault):
            await backend.look("alpha", None, 1)
    assert metrics.counts == {"send": 2, "look": 2, "look failed": 2}


async def test_a_measured_store_answers_like_itself(clock: ManualClock) -> None:
    store = MemoryBackend(clock)
    backend = measured(store, Counted())
    receipt = await backend.send(letter("one"))
    assert receipt.seq == 1
    assert (backend.name, backend.durability) == (store.name, store.durability)
    assert await backend.totals() == await store.totals()


def test_the_label_of_the_stores_calls_is_one_of_a_closed_set() -> None:
    assert {"send", "lease", "ack", "look", "totals"} <= OPERATIONS
    assert not OPERATIONS & {"open", "close", "watch", "durability"}
