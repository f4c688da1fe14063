"""The look for secrets finds them."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from agent_hub.core.errors import Invalid
from tests import canary
from tests.canary import BODY, PASSWORD, TOKEN, Watcher, found_in
from tests.server import running_hub


@pytest.mark.parametrize("secret", [BODY, PASSWORD, TOKEN, "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJiIn0"])
@pytest.mark.parametrize("name", ["agent_hub.core.hub", "some_library"])
def test_a_secret_in_the_log_is_found(secret: str, name: str, watcher: Watcher) -> None:
    log = logging.getLogger(name)
    log.warning("it says %s", secret)
    log.warning("nothing")
    assert [secret in leak for leak in watcher.leaks] == [True] * 2  # as JSON, and as text
    watcher.leaks.clear()


def test_the_lowest_level_is_looked_at(watcher: Watcher) -> None:
    logging.getLogger("agent_hub.core.trail").debug(BODY)
    assert watcher.leaks
    watcher.leaks.clear()


async def test_a_problem_that_quotes_a_body_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    async def quoting(*_: Any, **__: Any) -> None:
        raise Invalid(f"what is {BODY}?")

    async with running_hub() as hub:
        with monkeypatch.context() as broken:
            broken.setattr(hub.hub, "send", quoting)
            with pytest.raises(AssertionError):
                await canary.plant(hub.session)


async def test_a_hub_gets_the_secrets_by_every_door() -> None:
    async with running_hub() as hub:
        await canary.plant(hub.session)
        totals = await hub.hub.totals()
    assert {via for (via, _), count in totals.accepted_by.items() if count} == {
        "rest",
        "websocket",
        "mcp",
    }


def test_what_is_no_secret_is_none() -> None:
    for text in ("canary", "ah_short", "eyJ", "m_c2FuY3R1YXJ5c2FuY3R1YXJ"):
        assert found_in(text) is None
