"""`agent-hub token` and `agent-hub secret`."""

from __future__ import annotations

import asyncio
import io
import os
import re
import sys
from pathlib import Path

import pytest

from agent_hub import cli
from agent_hub.auth.sealed import unseal
from agent_hub.auth.sqlite_store import SqliteStore
from agent_hub.auth.tokens import Tokens
from agent_hub.clock import SystemClock
from agent_hub.core.errors import Unauthenticated
from agent_hub.core.principal import ORDINARY, Principal
from tests.patience import PATIENCE
from tests.server import running_hub

TOKEN = re.compile(r"ah_[a-z2-7]{16}_[a-z2-7]{52}\n")


def create(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """A new token; all of stdout."""
    assert cli.main(["token", "create", *arguments]) == 0
    shown = capsys.readouterr()
    assert TOKEN.fullmatch(shown.out)
    text = shown.out.removesuffix("\n")
    assert text.rpartition("_")[2] not in shown.err
    return text


async def prove(folder: Path, text: str) -> Principal:
    """What a hub beside the command line makes of a token."""
    clock = SystemClock()
    store = SqliteStore(folder / "hub.credentials.db", clock.time)
    await store.open()
    try:
        return await Tokens(store, clock.time).prove(text, via="rest", peer="")
    finally:
        await store.close()


def run(*arguments: str) -> int:
    """The exit code, however it came about."""
    try:
        return cli.main(list(arguments))
    except SystemExit as ended:
        return int(str(ended.code))


@pytest.mark.usefixtures("on_disk")
def test_standard_output_is_the_token_alone(capsys: pytest.CaptureFixture[str]) -> None:
    create(capsys, "--agent", "beta")


@pytest.mark.usefixtures("on_disk")
def test_a_token_is_what_its_flags_say(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    plain = asyncio.run(prove(tmp_path, create(capsys, "--agent", "beta")))
    assert (plain.agents, plain.scopes) == (frozenset({"beta"}), ORDINARY)
    assert (plain.subject, plain.expires_at) == ("token:beta", None)
    given = ["--agent", "a", "--agent", "team-*", "--name", "CI", "--expires", "90d"]
    text = create(capsys, *given, "--scope", "message:send", "--scope", "admin")
    caller = asyncio.run(prove(tmp_path, text))
    assert caller.agents == frozenset({"a", "team-*"})
    assert caller.scopes == {"message:send", "admin"}
    assert caller.subject == "token:CI"
    assert caller.expires_at is not None
    assert caller.expires_at - SystemClock().time() == pytest.approx(90 * 86_400, abs=60)


@pytest.mark.usefixtures("on_disk")
def test_the_list_shows_tokens_without_their_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    beta = create(capsys, "--agent", "beta")
    ops = create(capsys, "--name", "ops", "--scope", "admin", "--expires", "1s")
    assert cli.main(["token", "list"]) == 0
    header, first, second = capsys.readouterr().out.splitlines()
    assert header.split() == ["id", "name", "agents", "scopes", "created", "expires"]
    for text, line in ((beta, first), (ops, second)):
        shown, _, secret = text.rpartition("_")
        assert line.startswith(shown)
        assert secret not in line
    assert "never" in first
    assert " none " in second


@pytest.mark.usefixtures("on_disk")
def test_a_revoked_token_is_gone(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    text = create(capsys, "--agent", "beta")
    assert cli.main(["token", "revoke", text.rpartition("_")[0]]) == 0
    assert cli.main(["token", "revoke", text]) == 1
    assert "no such token" in capsys.readouterr().err
    with pytest.raises(Unauthenticated):
        asyncio.run(prove(tmp_path, text))
    assert cli.main(["token", "revoke", "--jti", "a name"]) == 0


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["token", "create"], "--agent"),
        (["token", "create", "--agent", "not an id"], "--agent"),
        (["token", "create", "--agent", "a", "--scope", "everything"], "--scope"),
        (["token", "create", "--agent", "a", "--expires", "soon"], "--expires"),
        (["token", "create", "--agent", "a", "--expires", "0d"], "--expires"),
        (["token", "create", "--agent", "a", "--backend", "mysql"], "--backend"),
        (["token", "revoke"], "token"),
        (["token", "revoke", "--jti", ""], "--jti"),
        (["token"], "ACTION"),
        (["token", "show"], "show"),
        (["secret"], "ACTION"),
    ],
)
@pytest.mark.usefixtures("on_disk")
def test_a_wrong_argument_ends_with_one_line_that_names_it(
    arguments: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments) == 2
    shown = capsys.readouterr()
    assert not shown.out
    assert named in shown.err
    assert "Scope." not in shown.err, "a choice is shown as it is typed"
    assert len(shown.err.splitlines()) == 1


@pytest.mark.usefixtures("on_disk")
def test_a_store_that_cannot_be_used_is_told_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "hub.credentials.db").write_bytes(b"no database" * 100)
    assert run("token", "list") == 1
    assert len(capsys.readouterr().err.splitlines()) == 1


BESIDE_A_HUB_WITH_FLAGS = [
    {"HOST": "0.0.0.0"},
    {"TRUSTED_PROXY": "127.0.0.1"},
    {"AUTH": "jwt"},
    {"AUTH": "oauth", "HOST": "0.0.0.0"},
    {"OIDC_ISSUER": "https://issuer.example"},
]


@pytest.mark.parametrize("variables", BESIDE_A_HUB_WITH_FLAGS, ids=str)
@pytest.mark.parametrize(
    "command", [["token", "list"], ["session", "list"], ["key", "rotate"], ["login-code"]]
)
@pytest.mark.usefixtures("on_disk")
def test_a_command_that_does_not_listen_may_see_half_of_what_a_hub_needs(
    command: list[str], variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other half the hub has as flags, as in a container."""
    for name, value in variables.items():
        monkeypatch.setenv(f"AGENT_HUB_{name}", value)
    assert run("config") == 2
    assert run(*command) == 0


@pytest.mark.usefixtures("on_disk")
def test_a_wrong_variable_stops_such_a_command_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENT_HUB_BACKND", "memory")
    assert run("token", "list") == 2
    assert "AGENT_HUB_BACKND" in capsys.readouterr().err


@pytest.mark.usefixtures("on_disk")
async def test_a_running_hub_heeds_what_the_command_line_does() -> None:
    """The hub has its own file locked; this is not that one."""

    async def command(*arguments: str) -> str:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "agent_hub",
            "token",
            *arguments,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await process.communicate()
        assert process.returncode == 0
        return out.decode().strip()

    async with running_hub(auth=("token",)) as hub:

        async def status(token: str) -> int:
            headers = {"Authorization": f"Bearer {token}"}
            async with hub.session.get("/api/v1/agents", headers=headers) as answer:
                return answer.status

        token = await command("create", "--agent", "beta")
        assert await status(token) == 200
        await command("revoke", token)
        async with asyncio.timeout(PATIENCE):
            while await status(token) == 200:
                pass
        assert await status(token) == 401


# --- secrets --------------------------------------------------------------------------------


def test_a_secret_can_be_encrypted_for_a_settings_file(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli.main(["secret", "key"]) == 0
    key = capsys.readouterr().out.strip()
    monkeypatch.setenv("AGENT_HUB_SECRET_KEY", key)
    monkeypatch.setattr(sys, "stdin", io.StringIO("hunter2\n"))
    assert cli.main(["secret", "encrypt"]) == 0
    shown = capsys.readouterr()
    assert unseal(shown.out.strip(), key) == "hunter2"
    assert "hunter2" not in shown.out + shown.err


def test_the_key_of_secrets_may_stand_in_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli.main(["secret", "key"]) == 0
    key = capsys.readouterr().out
    (tmp_path / "key").write_text(key)
    monkeypatch.delenv("AGENT_HUB_SECRET_KEY", raising=False)
    monkeypatch.setenv("AGENT_HUB_SECRET_KEY_FILE", str(tmp_path / "key"))
    monkeypatch.setattr(sys, "stdin", io.StringIO("hunter2"))
    assert cli.main(["secret", "encrypt"]) == 0
    assert unseal(capsys.readouterr().out.strip(), key) == "hunter2"


@pytest.mark.parametrize("key", [None, "", "no key", "A" * 40])
def test_without_a_key_nothing_is_encrypted(
    key: str | None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AGENT_HUB_SECRET_KEY", raising=False)
    if key is not None:
        monkeypatch.setenv("AGENT_HUB_SECRET_KEY", key)
    monkeypatch.setattr(sys, "stdin", io.StringIO("hunter2"))
    assert cli.main(["secret", "encrypt"]) != 0
    shown = capsys.readouterr()
    assert not shown.out
    assert "key" in shown.err
