"""Which inboxes hold the mail, over REST: counts and ids, and nothing of what was written."""

from __future__ import annotations

from typing import Any

import pytest

from tests.clock import ManualClock
from tests.web.caller import INBOXES, Caller


async def test_the_inboxes_that_hold_mail_are_listed_with_how_much(
    rest: Caller, clock: ManualClock
) -> None:
    assert await rest.get(INBOXES) == {"inboxes": [], "total": 0}
    await rest.register("alpha")
    await rest.send("beta", "alpha", "secret words")
    clock.pass_by(1.5)
    await rest.send("beta", "gamma", "a")
    await rest.receive("gamma", ack="manual")
    assert await rest.get(INBOXES) == {
        "inboxes": [
            {
                "agent_id": "alpha",
                "known": True,
                "status": "active",
                "ready": 1,
                "leased": 0,
                "bytes": len("secret words{}"),
                "oldest_at": "2027-01-15T08:00:00.000Z",
            },
            {
                "agent_id": "gamma",
                "known": False,
                "status": "offline",
                "ready": 0,
                "leased": 1,
                "bytes": len("a{}"),
                "oldest_at": None,
            },
        ],
        "total": 2,
    }


async def test_they_are_sorted_and_cut_as_asked(rest: Caller, clock: ManualClock) -> None:
    await rest.send("beta", "alpha")
    clock.pass_by(1)
    for _ in range(2):
        await rest.send("beta", "gamma")

    async def listed(**query: Any) -> list[str]:
        told = await rest.get(INBOXES, **query)
        assert told["total"] == 2
        return [one["agent_id"] for one in told["inboxes"]]

    assert await listed() == await listed(sort="oldest") == ["alpha", "gamma"]
    assert await listed(sort="messages") == ["gamma", "alpha"]
    assert await listed(sort="messages", limit="1") == ["gamma"]


@pytest.mark.parametrize(
    "query",
    ["sort=newest", "sort=", "limit=0", "limit=1001", "limit=x", "limit=1&limit=2", "agent_id=a"],
)
async def test_what_cannot_be_asked_is_refused_by_the_name_of_the_parameter(
    rest: Caller, query: str
) -> None:
    told = await rest.get(f"{INBOXES}?{query}", status=422)
    assert told["code"] == "invalid"
    assert [fault["pointer"] for fault in told["errors"]] == [f"?{query.split('=', maxsplit=1)[0]}"]
