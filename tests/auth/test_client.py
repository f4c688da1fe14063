"""AgentClient, the example and a hub that asks for credentials."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

import client_example
from agent_hub import AgentClient
from agent_hub.auth.jwts import LEEWAY_SECONDS
from agent_hub.client import HubError, Pace
from agent_hub.client.errors import Disconnected
from agent_hub.core.vigil import CHECK_SECONDS
from tests.auth.guarded import Guarded, guarded_hub
from tests.clock import ManualClock
from tests.web.waiting import until

QUICK = Pace(tries=1)
AT_ONCE = Pace(random=lambda: 0.0)


@pytest.fixture
async def guarded(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Guarded]:
    async with guarded_hub(tmp_path, clock) as guarded:
        yield guarded


async def test_a_client_shows_its_token_by_rest_and_on_its_stream(guarded: Guarded) -> None:
    url = guarded.hub.url
    async with (
        AgentClient(url, agent_id="alpha", token=await guarded.token("alpha")) as alpha,
        AgentClient(url, agent_id="beta", token=guarded.issuer.token()) as beta,
    ):
        await alpha.register()
        await beta.register()
        await beta.send_message("alpha", "hello")
        async for delivery in alpha.deliveries():
            assert (delivery.message.sender, delivery.message.text) == ("beta", "hello")
            await delivery.ack()
            break


@pytest.mark.parametrize("token", [None, "made up"])
async def test_without_a_good_one_a_client_is_told_so(guarded: Guarded, token: str | None) -> None:
    if token is not None:
        token = "ah_made-up"
    async with AgentClient(guarded.hub.url, agent_id="beta", token=token, pace=QUICK) as beta:
        with pytest.raises(HubError) as refused:
            await beta.register()
        assert (refused.value.code, refused.value.retryable) == ("unauthenticated", False)
        assert "ah_made-up" not in str(refused.value)


async def test_a_stream_ends_for_good_when_its_token_is_revoked(
    guarded: Guarded, clock: ManualClock
) -> None:
    token = await guarded.token("beta")
    async with AgentClient(guarded.hub.url, agent_id="beta", token=token) as beta:
        stream = beta.deliveries()
        reading = asyncio.ensure_future(anext(stream))
        await until(lambda: guarded.hub.hub.open_subscriptions == 1)
        await guarded.tokens.revoke(token)
        await clock.advance(5)
        with pytest.raises((Disconnected, HubError)) as ended:
            await reading
        assert ended.value.code in ("bad_credential", "unauthenticated")


async def test_after_its_token_has_expired_another_client_goes_on_with_the_next(
    guarded: Guarded, clock: ManualClock
) -> None:
    url, jwt = guarded.hub.url, guarded.issuer
    first_token = jwt.token(exp=int(clock.time()) + 60)
    async with (
        AgentClient(url, agent_id="alpha", token=await guarded.token("alpha")) as alpha,
        AgentClient(url, agent_id="beta", token=first_token) as first,
    ):
        stream = first.deliveries()
        await alpha.send_message("beta", "before")
        before = await anext(stream)
        await before.ack()
        await clock.advance(60 + LEEWAY_SECONDS + CHECK_SECONDS)
        with pytest.raises(Disconnected) as ended:
            await anext(stream)
        assert (ended.value.code, ended.value.close_code) == ("bad_credential", 4500)
        await alpha.send_message("beta", "meanwhile")

        jwt.now = clock.time()
        async with AgentClient(url, agent_id="beta", token=jwt.token(), since=first.cursor) as then:
            delivery = await anext(then.deliveries())
            assert (delivery.message.text, delivery.gap) == ("meanwhile", False)


class Purse:
    """Hands out the tokens that it has, one after the other, and then the last one for good."""

    def __init__(self, *tokens: str) -> None:
        self.tokens = list(tokens)
        self.asked = 0

    def __call__(self) -> str:
        self.asked += 1
        return self.tokens.pop(0) if len(self.tokens) > 1 else self.tokens[0]

    async def later(self) -> str:
        await asyncio.sleep(0)
        return self()


@pytest.mark.parametrize("way", [Purse.__call__, Purse.later])
async def test_a_function_is_asked_for_the_token_of_each_call(
    guarded: Guarded, way: Callable[[Purse], str | Awaitable[str]]
) -> None:
    first, second = [await guarded.token("beta", name="beta") for _ in range(2)]
    purse = Purse(first, second)
    url = guarded.hub.url
    async with AgentClient(url, agent_id="beta", token=lambda: way(purse), pace=QUICK) as beta:
        await beta.register()
        await guarded.tokens.revoke(first)
        await beta.send_message("alpha", "hello")
    assert purse.asked == 2


async def test_a_token_that_is_refused_is_asked_for_once_more(guarded: Guarded) -> None:
    purse = Purse(await guarded.revoked(), await guarded.token("beta"))
    async with AgentClient(guarded.hub.url, agent_id="beta", token=purse, pace=QUICK) as beta:
        await beta.register()
    assert purse.asked == 2


async def test_a_token_that_is_refused_twice_is_an_error(guarded: Guarded) -> None:
    purse = Purse("ah_made-up")
    async with AgentClient(guarded.hub.url, agent_id="beta", token=purse, pace=AT_ONCE) as beta:
        with pytest.raises(HubError, match="unauthenticated"):
            await beta.register()
        assert purse.asked == 2
        with pytest.raises(HubError, match="unauthenticated"):
            await anext(beta.deliveries())
    assert purse.asked == 4


async def test_a_stream_whose_token_has_expired_goes_on_with_the_next(
    guarded: Guarded, clock: ManualClock
) -> None:
    url, jwt = guarded.hub.url, guarded.issuer
    purse = Purse(jwt.token(exp=int(clock.time()) + 60))
    async with (
        AgentClient(url, agent_id="alpha", token=await guarded.token("alpha")) as alpha,
        AgentClient(url, agent_id="beta", token=purse, pace=AT_ONCE) as beta,
    ):
        stream = beta.deliveries()
        await alpha.send_message("beta", "before")
        before = await anext(stream)
        await before.ack()
        purse.tokens = [jwt.token(exp=int(clock.time()) + 600)]
        await clock.advance(60 + LEEWAY_SECONDS + CHECK_SECONDS)
        await alpha.send_message("beta", "meanwhile")
        delivery = await anext(stream)
        assert (delivery.message.text, delivery.gap) == ("meanwhile", False)


@pytest.mark.parametrize("token", ["", "two words", "é", "x\ny"])
def test_what_can_be_no_token_is_refused_without_being_repeated(token: str) -> None:
    with pytest.raises(ValueError, match="token") as refusal:
        AgentClient(agent_id="beta", token=token)
    assert not token or token not in str(refusal.value)


def test_what_is_neither_a_token_nor_a_function_is_refused_at_once() -> None:
    with pytest.raises(TypeError, match="token must be a string, not bytes"):
        AgentClient(agent_id="beta", token=b"ah_bytes")  # type: ignore[arg-type]


@pytest.mark.parametrize(("token", "kind"), [("two words", ValueError), (None, TypeError)])
async def test_what_can_be_no_token_is_refused_when_a_function_gives_it(
    token: Any, kind: type[Exception]
) -> None:
    async with AgentClient(agent_id="beta", token=lambda: token) as beta:
        with pytest.raises(kind, match="token"):
            await beta.register()


async def test_the_example_takes_its_token_from_the_environment(
    guarded: Guarded, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AGENT_HUB_TOKEN", await guarded.token("alpha-*", "beta-*"))
    await client_example.converse(guarded.hub.url)
    assert "both have left" in capsys.readouterr().out
