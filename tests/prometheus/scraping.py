"""A scrape as a table."""

from __future__ import annotations

from typing import Protocol

from aiohttp import ClientSession
from prometheus_client.parser import text_string_to_metric_families

Name = tuple[object, ...]
"""The sample's name, then its labels as pairs in the order of their names."""
Samples = dict[Name, float]

SETTLED = ("acked", "expired", "dead", "dropped")
WAITING = (("state", "ready"), ("state", "leased"))


class Scraped(Protocol):
    @property
    def session(self) -> ClientSession: ...


async def text_of(hub: Scraped, accept: str = "text/plain") -> str:
    async with hub.session.get("/metrics", headers={"Accept": accept}) as answer:
        assert answer.status == 200
        return await answer.text()


async def scrape(hub: Scraped) -> Samples:
    """All samples, each of which must stand there once."""
    told: Samples = {}
    for family in text_string_to_metric_families(await text_of(hub)):
        for sample in family.samples:
            name = (sample.name, *sorted(sample.labels.items()))
            assert name not in told
            told[name] = sample.value
    return told


def total(told: Samples, name: str) -> float:
    """Over all labels."""
    return sum(value for (sample, *_), value in told.items() if sample == f"agenthub_{name}")


def balance(told: Samples) -> float:
    """How many accepted messages are nowhere."""
    settled = sum(total(told, f"messages_{state}_total") for state in SETTLED)
    waiting = sum(told["agenthub_inbox_messages", state] for state in WAITING)
    return total(told, "messages_accepted_total") - settled - waiting
