"""A burst meets its limit at both doors; a message meets its expiry."""

from __future__ import annotations

from agent_hub.config import Settings
from tests.clock import ManualClock
from tests.server import RunningHub, running_hub
from tests.web.peer import Frame, connected, look, post

DEFAULTS = {name: Settings.model_fields[name].default for name in ("rate_limit", "rate_burst")}


async def send(hub: RunningHub, sender: str) -> tuple[int, dict[str, str]]:
    body = {"from": sender, "to": "delta", "text": "x"}
    async with hub.session.post("/api/v1/messages", json=body) as response:
        return response.status, dict(response.headers)


async def test_the_21st_request_of_a_burst_is_refused_by_rest_and_others_feel_nothing(
    clock: ManualClock,
) -> None:
    async with running_hub(clock=clock, **DEFAULTS) as hub:
        answers = [await send(hub, "alpha") for _ in range(21)]
        assert [status for status, _ in answers] == [202] * 20 + [429]
        headers = answers[-1][1]
        assert headers["Retry-After"] == "1"
        assert headers["RateLimit-Policy"] == '"agent";q=10;w=1'
        assert headers["RateLimit"] == '"agent";r=0;t=2'
        assert (await send(hub, "beta"))[0] == 202
        async with connected(hub, "gamma") as gamma:
            assert (await gamma.send("delta"))["type"] == "hub.accepted"
        assert len(await look(hub, "delta")) == 22
        await clock.advance(0.1)
        assert (await send(hub, "alpha"))[0] == 202


async def test_the_21st_request_of_a_burst_is_refused_by_websocket_and_others_feel_nothing(
    clock: ManualClock,
) -> None:
    async with (
        running_hub(clock=clock, **DEFAULTS) as hub,
        connected(hub, "alpha") as alpha,
        connected(hub, "beta") as beta,
    ):
        answers = [await alpha.send("delta") for _ in range(21)]
        assert [answer["type"] for answer in answers] == ["hub.accepted"] * 20 + ["hub.error"]
        refused = answers[-1]
        assert (refused["problem"]["status"], refused["problem"]["code"]) == (429, "rate_limited")
        assert refused["headers"] == {
            "Retry-After": "1",
            "RateLimit-Policy": '"agent";q=10;w=1',
            "RateLimit": '"agent";r=0;t=2',
        }
        assert (await beta.send("delta"))["type"] == "hub.accepted"
        assert (await send(hub, "gamma"))[0] == 202
        assert len(await look(hub, "delta")) == 22


async def test_both_doors_draw_on_the_same_bucket(clock: ManualClock) -> None:
    async with running_hub(clock=clock, **DEFAULTS) as hub, connected(hub, "alpha") as alpha:
        for _ in range(10):
            assert (await send(hub, "alpha"))[0] == 202
            assert (await alpha.send("delta"))["type"] == "hub.accepted"
        assert (await send(hub, "alpha"))[0] == 429
        assert (await alpha.send("delta"))["problem"]["code"] == "rate_limited"


async def standing(hub: RunningHub, message_id: str, agent_id: str) -> Frame:
    async with hub.session.get(
        f"/api/v1/messages/{message_id}", params={"agent_id": agent_id}
    ) as response:
        [recipient] = (await response.json())["recipients"]
        assert isinstance(recipient, dict)
        return recipient


async def test_a_message_that_expires_unread_says_so_and_its_sender_is_told_once(
    clock: ManualClock,
) -> None:
    async with running_hub(clock=clock) as hub:
        sent = await post(hub, "beta", "never read")
        await clock.advance(299)
        assert (await standing(hub, sent["message_id"], "alpha"))["state"] == "ready"
        await clock.advance(3)
        shown = await standing(hub, sent["message_id"], "alpha")
        assert (shown["state"], shown["attempts"]) == ("expired", 0)
        assert shown["expires_at"] == sent["expires_at"]
        assert await look(hub, "beta") == []
        [notice] = await look(hub, "alpha")
        assert (notice["type"], notice["from"]) == ("hub.undelivered", "hub")
        assert notice["payload"]["message_ids"] == [sent["message_id"]]
        async with connected(hub, "alpha") as alpha:
            assert (await alpha.next())["type"] == "hub.undelivered"
            await clock.advance(60)
            assert await alpha.sync() == []
