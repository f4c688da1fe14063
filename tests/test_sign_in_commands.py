"""`agent-hub login-code`, `session` and `key`, beside a hub that runs."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent_hub import cli
from agent_hub.auth.sqlite_store import SqliteStore
from agent_hub.clock import SystemClock
from tests.oauth.client import HandClient
from tests.oauth.hubs import sign_in_hub
from tests.oauth.person import Person
from tests.oauth.site import client_site

CODE = re.compile(r"([A-Z2-9]{4}-){2}[A-Z2-9]{4}\n")


@pytest.fixture
async def client(on_disk: None, tmp_path: Path) -> AsyncIterator[HandClient]:
    """A client of a hub with the same files as the command line."""
    clock = SystemClock()
    store = SqliteStore(tmp_path / "hub.credentials.db", clock.time)
    async with (
        client_site() as site,
        sign_in_hub(clock, site, store) as hub,
    ):
        yield HandClient(hub)


async def command(*arguments: str) -> int:
    """Run it as another process would, beside the hub's event loop."""
    return await asyncio.to_thread(cli.main, list(arguments))


async def test_a_code_from_the_command_line_lets_a_person_in(
    client: HandClient, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await command("login-code", "--name", "ada", "--agent", "beta") == 0
    shown = capsys.readouterr()
    assert CODE.fullmatch(shown.out)
    assert shown.out.strip() not in shown.err
    async with Person() as person:
        answer = await person.agree(client.link(), shown.out.strip())
    assert (await client.exchange(answer["code"])).status == 200
    assert await command("session", "list") == 0
    listed = capsys.readouterr().out.splitlines()
    assert listed[0].split() == [
        "id", "agent", "person", "known", "by", "program", "began", "last", "used",
    ]  # fmt: skip
    assert re.search(r"\bbeta +ada +login code +Example IDE\b", listed[1])


async def test_a_session_can_be_ended(
    client: HandClient, capsys: pytest.CaptureFixture[str]
) -> None:
    tokens = await client.tokens()
    assert tokens.refresh_token is not None
    [session] = await client.hub.sessions.all()
    assert await command("session", "end", session.id) == 0
    assert (await client.refresh(tokens.refresh_token)).status == 400
    assert await command("session", "end", session.id) == 1
    assert "no such session" in capsys.readouterr().err


async def test_all_sessions_can_be_ended(client: HandClient) -> None:
    await client.tokens("beta")
    await client.tokens("gamma")
    assert await command("session", "end", "--all") == 0
    assert await client.hub.sessions.all() == []


async def test_after_a_rotation_everything_goes_on(client: HandClient) -> None:
    tokens = await client.tokens()
    assert await command("key", "rotate") == 0
    assert await client.call(tokens.access_token) == 200
    async with client.hub.hub.session.get("/.well-known/jwks.json") as found:
        assert (await found.json())["keys"]


@pytest.mark.usefixtures("on_disk")
async def test_a_code_for_what_is_no_agent_is_not_made(capsys: pytest.CaptureFixture[str]) -> None:
    assert await command("login-code", "--agent", "a b") == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "--agent" in shown.err


@pytest.mark.usefixtures("on_disk")
def test_nobody_becomes_an_administrator_by_a_code() -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["login-code", "--scope", "admin"])
    assert ended.value.code == 2


@pytest.mark.usefixtures("on_disk")
def test_what_to_end_must_be_said() -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["session", "end"])
    assert ended.value.code == 2
