"""`agent-hub listen`, `send`, `ask`, `receive` and `agents`: an agent's side, for shells."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent_hub import cli
from tests.auth.guarded import guarded_hub
from tests.clock import ManualClock
from tests.patience import PATIENCE
from tests.ports import free_port
from tests.server import RunningHub
from tests.shell import Ended, Shell, asked, end, line
from tests.web.caller import AGENTS, MESSAGES, Caller
from tests.web.waiting import until

EVIL = "\x1b]0;title\x07\x1b[31mred\u202e\x9b2J\nalpha: forged"
SEEN = "red2J\\nalpha: forged"
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def shell(served: RunningHub) -> Shell:
    return Shell(served.url)


async def waiting(rest: Caller, agent_id: str) -> list[Any]:
    """What an agent's inbox owes, looked at."""
    messages: list[Any] = (await rest.get(MESSAGES, agent_id=agent_id))["messages"]
    return messages


async def send_object(rest: Caller, payload: dict[str, Any], **more: Any) -> None:
    draft = {"from": "beta", "to": "alpha", "payload": payload, **more}
    await rest.post(MESSAGES, draft, status=202)


async def until_acked(rest: Caller, agent_id: str) -> None:
    async def is_empty() -> bool:
        return not await waiting(rest, agent_id)

    await until(is_empty)


# --- listen ---------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_listen_registers_prints_what_comes_acks_it_and_ends_in_order(
    shell: Shell, rest: Caller, number: signal.Signals
) -> None:
    await rest.send("beta", "alpha", "before")
    async with shell.running("listen", "alpha") as listening:
        assert await line(listening.stdout) == "beta: before\n"
        assert [one["agent_id"] for one in (await rest.get(AGENTS))["agents"]] == ["alpha"]
        await rest.send("beta", "alpha", "while it listens", type="request")
        assert await line(listening.stdout) == "beta (request): while it listens\n"
        await until_acked(rest, "alpha")
        listening.send_signal(number)
        assert await end(listening) == Ended(0, "", "")
    assert await shell.run("receive", "alpha") == Ended(0, "", "")


@pytest.mark.parametrize("command", ["listen", "receive"])
async def test_with_json_a_message_is_one_line_as_the_doors_show_it(
    shell: Shell, rest: Caller, command: str
) -> None:
    draft = {"from": "beta", "to": "alpha", "message": EVIL}
    first = await rest.post(MESSAGES, draft, status=202, headers={"traceparent": TRACE})
    reply = {"reply_to": first["message_id"], "type": "answer"}
    await send_object(rest, {"n": [1.0, None, 2**60], "名": "値"}, **reply)
    await rest.post(f"{AGENTS}/register", {"agent_id": "alpha"}, status=201)
    await rest.send("beta", "ALL", "to all")
    looked = await waiting(rest, "alpha")
    for message in looked:
        del message["state"]
        message["attempt"] += 1  # it was only looked at
    assert (looked[0]["traceparent"], looked[2]["broadcast"]) == (TRACE, True)
    async with shell.running(command, "alpha", "--json") as reading:
        lines = [await line(reading.stdout) for _ in looked]
        await until_acked(rest, "alpha")
    assert [json.loads(one) for one in lines] == looked
    assert all(one.isascii() and one[:-1].isprintable() for one in lines)


@pytest.mark.parametrize("command", ["listen", "receive"])
async def test_words_of_others_are_one_line_that_a_terminal_shows_as_it_stands(
    shell: Shell, rest: Caller, command: str
) -> None:
    await rest.send("beta", "alpha", EVIL)
    await send_object(rest, {"said": EVIL, "名": "値"})
    async with shell.running(command, "alpha") as reading:
        assert await line(reading.stdout) == f"beta: {SEEN}\n"
        shown = await line(reading.stdout)
    assert shown.startswith('beta: {"said": "\\u001b]0;title')
    assert shown.endswith('\\nalpha: forged", "名": "値"}\n')
    assert shown[:-1].isprintable()


@pytest.mark.parametrize("command", ["listen", "receive"])
async def test_a_message_that_could_not_be_written_is_not_acknowledged(
    shell: Shell, rest: Caller, command: str
) -> None:
    await rest.send("beta", "alpha", "one")
    await rest.send("beta", "alpha", "two")
    full = os.open("/dev/full", os.O_WRONLY)
    ended = await shell.run(command, "alpha", stdout=full)
    os.close(full)
    assert ended == Ended(1, "", "agent-hub: cannot write: No space left on device\n")
    assert [one["state"] for one in await waiting(rest, "alpha")] == ["ready", "ready"]
    ended = await shell.run("receive", "alpha")
    assert ended.out == "beta (perhaps seen before): one\nbeta (perhaps seen before): two\n"


async def test_listen_ends_when_nobody_reads_its_pipe_any_more(shell: Shell, rest: Caller) -> None:
    reading, writing = os.pipe()
    async with shell.running("listen", "alpha", stdout=writing) as listening:
        os.close(writing)
        await rest.send("beta", "alpha", "one")
        await until_acked(rest, "alpha")
        os.close(reading)
        assert await end(listening) == Ended(0, "", "")
    await rest.send("beta", "alpha", "two")
    assert (await shell.run("receive", "alpha")).out == "beta: two\n"


async def test_what_was_read_just_before_its_reader_left_is_not_shown_again(
    shell: Shell, rest: Caller
) -> None:
    for text in ("one", "two", "three"):
        reading, writing = os.pipe()
        async with shell.running("listen", "alpha", stdout=writing) as listening:
            os.close(writing)
            await rest.send("beta", "alpha", text)
            assert await asyncio.to_thread(read_and_leave, reading) == f"beta: {text}\n"
            assert await end(listening) == Ended(0, "", "")
        assert await waiting(rest, "alpha") == []


def read_and_leave(pipe: int) -> str:
    """As `head -1` does."""
    line = os.read(pipe, 1000)
    os.close(pipe)
    return line.decode()


async def test_listen_ends_with_what_nobody_was_there_to_read_still_owed(
    shell: Shell, rest: Caller
) -> None:
    ours, theirs = socket.socketpair()
    async with shell.running("listen", "alpha", stdout=theirs.fileno()) as listening:
        theirs.close()
        ours.close()
        await rest.send("beta", "alpha", "one")
        assert await end(listening) == Ended(0, "", "")
    assert [one["state"] for one in await waiting(rest, "alpha")] == ["ready"]


async def test_a_reader_that_does_not_read_on_keeps_nobody_from_ending_it(
    shell: Shell, rest: Caller
) -> None:
    for _ in range(3):
        await rest.send("beta", "alpha", "x" * 200_000)
    reading, writing = os.pipe()
    async with shell.running("listen", "alpha", stdout=writing) as listening:
        os.close(writing)
        begun = await asyncio.to_thread(os.read, reading, 1)  # it is in the middle of a line
        listening.terminate()
        assert await end(listening) == Ended(0, "", "")
    os.close(reading)
    assert begun == b"b"
    assert [one["state"] for one in await waiting(rest, "alpha")] == ["ready"] * 3


async def test_a_listener_says_who_took_its_place(shell: Shell, rest: Caller) -> None:
    async with shell.running("listen", "alpha") as first:
        await rest.send("beta", "alpha", "one")
        await line(first.stdout)
        async with shell.running("listen", "alpha"):
            ended = await end(first)
    assert ended.code == 1
    assert ended.err.startswith("agent-hub: replaced: ")
    assert len(ended.err.splitlines()) == 1


async def test_a_listener_says_that_it_waits_for_its_hub() -> None:
    async with Shell(f"http://127.0.0.1:{free_port()}").running("listen", "alpha") as listening:
        said = await line(listening.stderr)
        listening.terminate()
        assert (await end(listening)).code == 0
    assert said.startswith("agent-hub: no connection to the hub; next attempt in ")


# --- receive --------------------------------------------------------------------------------


async def test_receive_takes_so_many_and_ends_and_with_none_prints_nothing(
    shell: Shell, rest: Caller
) -> None:
    for text in ("one", "two", "three"):
        await rest.send("beta", "alpha", text)
    assert await shell.run("receive", "alpha", "--limit", "2") == Ended(
        0, "beta: one\nbeta: two\n", ""
    )
    assert await shell.run("receive", "alpha", "--wait", "9") == Ended(0, "beta: three\n", "")
    assert await shell.run("receive", "alpha") == Ended(0, "", "")
    assert (await rest.get(AGENTS))["agents"] == []


async def test_receive_waits_for_what_is_not_there_yet(
    shell: Shell, rest: Caller, served: RunningHub
) -> None:
    receiving = asyncio.ensure_future(shell.run("receive", "alpha", "--wait", "50"))
    await until(lambda: served.open_connections > 0, patience=PATIENCE)
    await rest.send("beta", "alpha", "at last")
    assert await receiving == Ended(0, "beta: at last\n", "")


# --- send -----------------------------------------------------------------------------------


async def test_send_prints_the_id_alone_of_what_it_sent(shell: Shell, rest: Caller) -> None:
    await rest.post(f"{AGENTS}/register", {"agent_id": "alpha"}, status=201)
    sent = await shell.run("send", "--from", "beta", "alpha", "Hello Alpha!")
    [message] = await waiting(rest, "alpha")
    assert sent == Ended(0, f"{message['id']}\n", "")
    assert (message["from"], message["text"]) == ("beta", "Hello Alpha!")


@pytest.mark.parametrize(
    ("arguments", "stdin", "expected"),
    [
        (["-"], "two\nlines, 値\n\n", {"text": "two\nlines, 値\n"}),
        (["--payload", '{"a": [1]}'], "", {"text": "", "payload": {"a": [1]}, "type": "message"}),
        (["--payload", "-"], '{"type": "task"}\n', {"type": "task"}),
        (["", "--type", "ping"], "", {"type": "ping", "text": "", "payload": {}}),
        (["--reply-to", f"m_{'x' * 22}", "--", "-x"], "", {"reply_to": f"m_{'x' * 22}"}),
    ],
)
async def test_send_takes_its_content_from_where_it_is_told_to(
    shell: Shell, rest: Caller, arguments: list[str], stdin: str, expected: dict[str, Any]
) -> None:
    sent = await shell.run("send", "--from", "beta", "alpha", *arguments, stdin=stdin.encode())
    assert sent.code == 0, sent.err
    [message] = await waiting(rest, "alpha")
    assert {name: message[name] for name in expected} == expected


async def test_what_is_sent_twice_by_one_key_is_sent_once_and_lasts_as_long_as_it_says(
    shell: Shell, rest: Caller, clock: ManualClock
) -> None:
    send = ("send", "--from", "beta", "alpha", "x", "--key", "k", "--ttl", "7.5", "--json")
    first, second = [json.loads((await shell.run(*send)).out) for _ in range(2)]
    assert (first["replayed"], second["replayed"]) == (False, True)
    assert first["message_id"] == second["message_id"]
    assert first["recipient"]["known"] is False
    assert len(await waiting(rest, "alpha")) == 1
    await clock.advance(8)
    assert await waiting(rest, "alpha") == []


async def test_a_sender_is_told_of_a_recipient_that_is_unknown_or_away(
    shell: Shell, rest: Caller, clock: ManualClock
) -> None:
    await rest.post(f"{AGENTS}/register", {"agent_id": "alpha"}, status=201)
    unknown = await shell.run("send", "--from", "beta", "alfa", "x")
    assert unknown.err == (
        "agent-hub: nobody has registered as alfa yet; the message waits; did you mean alpha?\n"
    )
    await clock.advance(100)
    away = await shell.run("send", "--from", "beta", "alpha", "x")
    assert away.err.startswith("agent-hub: alpha is offline; the message waits until 20")
    assert (unknown.code, away.code) == (0, 0)


async def test_a_broadcast_says_when_nobody_has_it(shell: Shell, rest: Caller) -> None:
    nobody = await shell.run("send", "--from", "beta", "ALL", "x")
    assert (nobody.code, nobody.err) == (0, "agent-hub: nobody else is here to have it\n")
    await rest.post(f"{AGENTS}/register", {"agent_id": "alpha"}, status=201)
    sent = await shell.run("send", "--from", "beta", "ALL", "x")
    assert (sent.code, sent.err) == (0, "")
    assert [one["id"] for one in await waiting(rest, "alpha")] == [sent.out.strip()]


# --- ask ------------------------------------------------------------------------------------


@pytest.mark.parametrize("as_json", [False, True])
async def test_ask_prints_the_reply(
    shell: Shell, rest: Caller, served: RunningHub, as_json: bool
) -> None:
    form = ["--json"] if as_json else []
    asking = asyncio.ensure_future(
        shell.run("ask", "--from", "beta", "alpha", "-", *form, stdin=b"Ready?\n")
    )
    await asked(served)
    [question] = (await rest.receive("alpha"))["messages"]
    assert question["text"] == "Ready?"
    reply = await rest.send("alpha", "beta", "two\nlines\x1b[2J", reply_to=question["id"])
    code, out, err = await asking
    assert (code, err) == (0, "")
    if as_json:
        told = json.loads(out)
        assert (told["status"], told["message_id"]) == ("replied", question["id"])
        assert (told["reply"]["id"], told["reply"]["from"]) == (reply["message_id"], "alpha")
    else:
        assert out == "two\nlines\n"
    assert await waiting(rest, "beta") == []


async def test_ask_tells_a_reply_that_has_not_come(
    shell: Shell, served: RunningHub, clock: ManualClock
) -> None:
    asking = asyncio.ensure_future(
        shell.run("ask", "--from", "beta", "alpha", "Ready?", "--timeout", "30")
    )
    await asked(served)
    await clock.advance(31)
    code, out, err = await asking
    assert (code, out) == (3, "")
    assert err.startswith("agent-hub: no reply to m_")
    assert len(err.splitlines()) == 1


async def test_a_hub_that_stops_ends_a_question_and_nobody_says_that_its_time_was_over(
    shell: Shell, rest: Caller, served: RunningHub
) -> None:
    asking = asyncio.ensure_future(shell.run("ask", "--from", "beta", "alpha", "Ready?"))
    await asked(served)
    question = (await waiting(rest, "alpha"))[0]["id"]
    await served.hub.drain()
    no_reply = f"agent-hub: no reply to {question} yet; a later one will be ordinary mail\n"
    assert await asking == Ended(3, "", no_reply)


async def test_ask_tells_a_question_from_a_reply(
    shell: Shell, rest: Caller, served: RunningHub
) -> None:
    asking = asyncio.ensure_future(shell.run("ask", "--from", "beta", "alpha", "Ready?"))
    await asked(served)
    back = asyncio.ensure_future(rest.send("alpha", "beta", "For what?", wait=50))
    code, out, err = await asking
    assert (code, out) == (4, "For what?\n")
    question = err.removeprefix("agent-hub: alpha asks back, in ").partition(";")[0]
    answered = await shell.run("send", "--from", "beta", "alpha", "That", "--reply-to", question)
    assert answered.code == 0
    assert (await back)["reply"]["text"] == "That"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_who_asks_can_be_told_to_stop(
    shell: Shell, served: RunningHub, number: signal.Signals
) -> None:
    async with shell.running("ask", "--from", "beta", "alpha", "Ready?") as asking:
        await asked(served)
        asking.send_signal(number)
        assert await end(asking) == Ended(128 + number, "", "")


# --- agents ---------------------------------------------------------------------------------


async def test_agents_prints_who_is_here(shell: Shell, rest: Caller) -> None:
    for body in (
        {"agent_id": "alpha", "name": "Alpha", "capabilities": ["review", "test"]},
        {"agent_id": "beta-01TYEi4M"},
    ):
        await rest.post(f"{AGENTS}/register", body, status=201)
    readable = await shell.run("agents")
    assert readable == Ended(
        0, "alpha          active   Alpha: review, test\nbeta-01TYEi4M  active\n", ""
    )
    as_json = await shell.run("agents", "--json")
    shown = [json.loads(one) for one in as_json.out.splitlines()]
    assert shown == (await rest.get(AGENTS))["agents"]


# --- what goes wrong ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["send", "--from", "beta", "alpha"], "TEXT"),
        (["send", "alpha", "x"], "--from"),
        (["send", "--from", "beta", "alpha", "[1]", "--payload"], "payload"),
        (["send", "--from", "beta", "alpha", "{", "--payload"], "payload"),
        (["send", "--from", "beta", "alpha", '{"a": NaN}', "--payload"], "JSON"),
        (["send", "--from", "beta", "alpha", "x", "--ttl", "soon"], "--ttl"),
        (["send", "--from", "beta", "alpha", "x", "--ttl", "inf"], "--ttl"),
        (["send", "--from", "ALL", "alpha", "x"], "'ALL'"),
        (["ask", "--from", "beta", "alpha", "x", "--timeout", "301"], "301"),
        (["ask", "--from", "beta", "alpha", "x", "--timeout", "0"], "--timeout: 1 to 300"),
        (["receive", "alpha", "--wait", "51"], "--wait: 0 to 50"),
        (["receive", "alpha", "--limit", "0"], "--limit: 1 to 200"),
        (["send", "--from", "beta", "alpha", "\udcff"], "no text in UTF-8"),
        (["send", "--from", "beta", "alpha", '{"a": "\\ud800"}', "--payload"], "no text in UTF-8"),
        (["listen"], "AGENT"),
        (["listen", "alpha", "--url", "localhost:8080"], "localhost:8080"),
        (["work", "alpha", "--url", "ws://localhost", "--", "cat"], "--url: "),
        (["agents", "--url", "http://"], "http://localhost:8080"),
        (["agents", "--url", "http://localhost:99999"], "99999"),
        (["agents", "--url", "http://[::1"], "[::1"),
        (["agents", "--url", "http://hub..example.com"], "--url: "),
        (["stdio", "--url", "localhost:8080/mcp"], "--url: "),
        (["receive", "alpha", "--lim", "1"], "--lim"),
    ],
)
def test_a_wrong_argument_is_exit_code_2_and_one_line(
    arguments: list[str], named: str, capsys: pytest.CaptureFixture[str], quiet_log: None
) -> None:
    try:
        code: object = cli.main(arguments)
    except SystemExit as ended:
        code = ended.code
    shown = capsys.readouterr()
    assert (code, shown.out) == (2, "")
    assert shown.err.startswith("agent-hub: ")
    assert named in shown.err
    assert "server_url" not in shown.err, "a name of Python's"
    assert len(shown.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("variable", "value"), [("AGENT_HUB_URL", "localhost:8080"), ("AGENT_HUB_TOKEN", "two words")]
)
def test_a_variable_that_is_wrong_is_named_in_one_line(
    variable: str,
    value: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    quiet_log: None,
) -> None:
    monkeypatch.setenv(variable, value)
    try:
        code: object = cli.main(["agents"])
    except SystemExit as ended:
        code = ended.code
    shown = capsys.readouterr()
    assert (code, shown.out) == (2, "")
    assert variable in shown.err
    assert len(shown.err.splitlines()) == 1


@pytest.fixture
def quiet_log() -> Iterator[None]:
    """What a command changes in a process of its own stays as it was in this one."""
    loggers = [logging.getLogger(f"agent_hub.{name}") for name in ("client", "terminal")]
    before = [(logger.handlers[:], logger.level) for logger in loggers]
    yield
    for logger, (handlers, level) in zip(loggers, before, strict=True):
        logger.handlers[:] = handlers
        logger.setLevel(level)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["send", "--from", "beta", "al pha", "x"], "invalid: /to: "),
        (["ask", "--from", "beta", "beta", "x"], "wait_for_self: "),
    ],
)
async def test_what_the_hub_refuses_is_exit_code_1_and_its_word_in_one_line(
    shell: Shell, arguments: list[str], named: str
) -> None:
    ended = await shell.run(*arguments)
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith(f"agent-hub: {named}")
    assert len(ended.err.splitlines()) == 1


async def test_a_text_that_is_none_is_not_sent(shell: Shell, rest: Caller) -> None:
    ended = await shell.run("send", "--from", "beta", "alpha", "-", stdin=b"\xff")
    assert (ended.code, ended.out, len(ended.err.splitlines())) == (2, "", 1)
    assert await waiting(rest, "alpha") == []


async def in_sh(shell: Shell, typed: str) -> subprocess.CompletedProcess[str]:
    """What becomes of a command with the redirections of a shell behind it."""
    return await asyncio.to_thread(
        subprocess.run,
        ["sh", "-c", f"exec {sys.executable} -m agent_hub {typed}"],
        env=shell.variables,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


@pytest.mark.parametrize(
    ("typed", "code", "stream"),
    [
        ("send --from beta alpha x >&-", 1, "standard output"),
        ("receive alpha >&-", 1, "standard output"),
        ("listen alpha >&-", 1, "standard output"),
        ("send --from beta alpha - <&-", 2, "stdin"),
    ],
)
async def test_a_stream_that_the_caller_has_closed_is_named_in_one_line(
    shell: Shell, rest: Caller, typed: str, code: int, stream: str
) -> None:
    await rest.post(MESSAGES, {"from": "beta", "to": "alpha", "message": "x"}, status=202)
    ended = await in_sh(shell, typed)
    assert (ended.returncode, ended.stdout) == (code, "")
    assert ended.stderr.startswith("agent-hub: ")
    assert f"{stream} is closed" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
    assert [one["text"] for one in await waiting(rest, "alpha")] == ["x"]


async def test_what_a_person_should_know_is_no_output_of_a_caller_without_standard_error(
    shell: Shell, rest: Caller
) -> None:
    ended = await in_sh(shell, "send --from beta alpha x 2>&-")
    assert [one["id"] for one in await waiting(rest, "alpha")] == ended.stdout.splitlines()
    assert ended.returncode == 0


@pytest.mark.parametrize(
    "arguments", [["send", "--from", "beta", "alpha", "x"], ["receive", "alpha"], ["agents"]]
)
async def test_without_a_hub_a_command_says_so_in_one_line(arguments: list[str]) -> None:
    port = free_port()
    ended = await Shell("http://nowhere.invalid").run(
        *arguments, "--url", f"http://127.0.0.1:{port}"
    )
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith("agent-hub: unreachable: ")
    assert str(port) in ended.err
    assert len(ended.err.splitlines()) == 1


async def test_a_hub_that_asks_for_a_credential_is_shown_the_token(
    tmp_path: Path, clock: ManualClock
) -> None:
    async with guarded_hub(tmp_path, clock) as guarded:
        token = {"AGENT_HUB_TOKEN": await guarded.token("beta")}
        beta, nobody = Shell(guarded.hub.url, token), Shell(guarded.hub.url)
        bad = Shell(guarded.hub.url, {"AGENT_HUB_TOKEN": "ah_bad"})
        assert (await beta.run("send", "--from", "beta", "beta", "mine")).code == 0
        async with beta.running("listen", "beta") as listening:
            assert await line(listening.stdout) == "beta: mine\n"
        for refused in (
            await bad.run("listen", "beta"),
            await nobody.run("ask", "--from", "beta", "alpha", "x"),
        ):
            assert (refused.code, refused.out) == (1, "")
            assert "AGENT_HUB_TOKEN must hold a good token" in refused.err
            assert len(refused.err.splitlines()) == 1
        others = await beta.run("receive", "alpha")
        assert (others.code, others.err[:20]) == (1, "agent-hub: forbidden")


# --- how it starts --------------------------------------------------------------------------


def test_a_command_loads_no_part_of_a_server() -> None:
    code = "import agent_hub.cli, agent_hub.terminal.commands, sys; print(*sys.modules)"
    command = [sys.executable, "-c", code]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    loaded = set(ended.stdout.split())
    assert "agent_hub.client.agent" in loaded
    outside = {"mcp", "mcp_bridge", "pydantic", "pydantic_settings", "redis", "prometheus_client"}
    ours = {"app", "config", "core.hub", "queue_backends", "auth", "web", "wire"}
    assert not loaded & (outside | {"aiohttp.web"} | {f"agent_hub.{one}" for one in ours})
