"""The scripts of the Redis store as text: their keys, and what a wrong line would do."""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from inspect import iscoroutinefunction, signature
from typing import Any
from unittest.mock import patch

import pytest

from agent_hub.core.limits import Limits
from agent_hub.queue_backends.redis.keys import Keys
from agent_hub.queue_backends.redis.lua import scripts
from agent_hub.queue_backends.redis.store import Store, load_scripts
from tests.backends import (
    test_expiry,
    test_idempotency,
    test_leases,
    test_limits,
    test_mail,
    test_notices,
    test_registry,
    test_waits,
)
from tests.backends.redis_stores import TemporaryRedis
from tests.clock import ManualClock

CONTRACT = (
    test_leases,
    test_waits,
    test_limits,
    test_expiry,
    test_notices,
    test_idempotency,
    test_registry,
    test_mail,
)

WITHOUT_A_KEY = {"TIME"}
CALL = re.compile(r"redis\.p?call\('(\w+)'(?:, ([\w.\[\]]+))?")


def store() -> Store:
    return Store(Keys("test"), Limits(), None)


@pytest.mark.parametrize("name", scripts.names())
def test_every_key_of_a_script_is_in_the_slot_of_one_inbox(name: str) -> None:
    _, _, count, *rest = store().script(name, "alpha")
    keys = rest[:count]
    assert len(keys) == len(set(keys))
    assert all(key.startswith("test:{alpha}:") for key in keys)


@pytest.mark.parametrize("name", scripts.names())
def test_a_script_touches_only_keys_that_it_was_given(name: str) -> None:
    keys = {f"KEYS[{number}]" for number in range(1, 30)} | {"key"}  # of a function of ours
    for command, key in CALL.findall(scripts.load(name, LIMITS).text):
        assert command in WITHOUT_A_KEY or key in keys, f"{command} {key}"


LIMITS = {name: getattr(Limits(), name) for name in Limits.__struct_fields__} | {
    "occupancy_seconds": 30.0
}

MUTANTS = [
    ("settle", "  count(record, -1)\n  close_notice(id, record)\n  box.gap", "  box.gap"),
    ("settle", "    box.gap = math.max(box.gap, record[SEQ])\n    pairs_", "    pairs_"),
    ("settle", "KEY.kept) - LIMITS", "KEY.kept) + 1 - LIMITS"),
    ("hold", "record[FAILURES] > LIMITS.failures", "record[FAILURES] >= LIMITS.failures"),
    ("hold", "    redis.call('ZADD', KEY.ready, record[SEQ], id)\n", ""),
    ("hold", "  record[ATTEMPTS] = record[ATTEMPTS] + 1\n", ""),
    ("hold", "  redis.call('ZREM', KEY.leases, unpack(leased))\n", ""),
    ("come_due", "if wait.deadline <= monotonic then", "if wait.deadline > monotonic then"),
    ("come_due", "give_back(id, record, record[FAULT])", "give_back(id, record, 1)"),
    ("come_due", "place[1] == record[STREAM]", "place[1] ~= record[STREAM]"),
    ("waits", "oldest = oldest or wait", "oldest = wait"),
    ("waits", "oldest.since < asking_since or", "oldest.since > asking_since or"),
    ("waits", "if keep and wait.settled and", "if keep and"),
    ("room", "places > share and room >= size", "places >= share and room >= size"),
    ("room", "for _, other in ipairs(others) do own[#own + 1] = other end", ""),
    ("receipt", "claim[6] > now", "claim[6] < now"),
    ("receipt", "(not claim[7] or claim[7] == id)", "not claim[7]"),
    ("send", "ZADD', KEY.ready, record[SEQ], ARG.id)", "ZADD', KEY.ready, -record[SEQ], ARG.id)"),
    ("extend", "one[2][FAULT] == 1", "one[2][FAULT] == 0"),
    ("post", "box.owed <= share", "box.owed < share"),
    ("accept", "box.seq = box.seq + 1", "box.seq = box.seq + 2"),
    ("lease", "if left < 0 and number_of > 1 then break end", "if left < 0 then break end"),
    ("look", "box.gap <= since", "box.gap < since"),
    ("sweep", "box.empty + LIMITS.empty_inbox_seconds <= now", "box.empty <= now"),
    ("use_key", "ZPOPMIN", "ZPOPMAX"),
    ("notice", "box.notices >= LIMITS.notices_per_inbox", "box.notices > LIMITS.notices_per_inbox"),
    ("agents", "if visit_soon(id) then redis.call('SADD', KEY.nobodys, id) end", "visit_soon(id)"),
    ("agents", "count_owned(agent[5], -1)", "count_owned(agent[5], 0)"),
    ("put_agent", ">= LIMITS.agents then", "> LIMITS.agents then"),
    ("put_agent", ">= LIMITS.agents_per_owner", "> LIMITS.agents_per_owner"),
    ("put_agent", "owner ~= (known and known[5] or '')", "not known"),
    ("put_agent", "owner ~= (known and known[5] or '')", "true"),
]  # fmt: skip
"""A part, a piece of it, and what stands there instead: a line dropped, a comparison turned."""

HEAVY = ("10000",)
"""Scenarios that take seconds."""


def scenarios() -> Iterator[Callable[..., Coroutine[Any, Any, None]]]:
    """The tests of the promise that need no more than a clock and stores."""
    for module in CONTRACT:
        for name, test in vars(module).items():
            if (
                name.startswith("test_")
                and iscoroutinefunction(test)
                and set(signature(test).parameters) <= {"backend", "clock", "open_backend"}
                and not any(word in name for word in HEAVY)
            ):
                yield test


async def holds(test: Callable[..., Coroutine[Any, Any, None]]) -> bool:
    """Whether the store keeps its promise in this scenario."""
    clock = ManualClock()
    opened: list[TemporaryRedis] = []

    async def open_backend(limits: Limits) -> TemporaryRedis:
        opened.append(TemporaryRedis(clock, limits))
        await opened[-1].open()
        return opened[-1]

    arguments: dict[str, object] = {"clock": clock, "open_backend": open_backend}
    try:
        if "backend" in signature(test).parameters:
            arguments["backend"] = await open_backend(Limits())
        await test(**{name: arguments[name] for name in signature(test).parameters})
    except (Exception, pytest.fail.Exception):  # noqa: BLE001 - how it fails does not matter
        return False
    finally:
        for backend in opened:
            await backend.close()
    return True


@contextmanager
def mutated(part: str, right: str, wrong: str) -> Iterator[None]:
    """All scripts with that part as it must not be."""
    read_part = scripts.read_part
    assert read_part(part).count(right) == 1, right

    def read(name: str) -> str:
        return read_part(name).replace(right, wrong) if name == part else read_part(name)

    with patch.object(scripts, "read_part", read):
        load_scripts.cache_clear()
        try:
            yield
        finally:
            load_scripts.cache_clear()


def test_each_mutant_is_one_of_the_scripts_as_they_are() -> None:
    for part, right, wrong in MUTANTS:
        with mutated(part, right, wrong):
            pass
    assert len(MUTANTS) >= 10


@pytest.mark.soak
@pytest.mark.parametrize(("part", "right", "wrong"), MUTANTS)
async def test_a_wrong_line_is_caught(part: str, right: str, wrong: str) -> None:
    with mutated(part, right, wrong):
        for scenario in scenarios():
            if not await holds(scenario):
                return
    pytest.fail("no test of the promise noticed it")
