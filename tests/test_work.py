"""`agent-hub work`: a program as an agent, with real commands and a real hub."""

from __future__ import annotations

import asyncio
import json
import re
import signal
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from aiohttp.test_utils import TestServer

from agent_hub.app import create_app
from agent_hub.client import AgentClient, HubError, Pace
from agent_hub.config import Settings
from agent_hub.core.message import MAX_CONTENT_BYTES
from agent_hub.core.principal import ORDINARY, Scope
from agent_hub.terminal import work
from tests.auth.guarded import guarded_hub
from tests.clock import ManualClock
from tests.patience import PATIENCE
from tests.ports import free_port
from tests.server import RunningHub
from tests.shell import Ended, Shell, end, line
from tests.stage import Run, Stage
from tests.stage import stage as open_stage
from tests.web.caller import Caller
from tests.web.waiting import until

pytestmark = pytest.mark.slow

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
M_0 = f"m_{'0' * 22}"


@pytest.fixture
def shell(served: RunningHub) -> Shell:
    return Shell(served.url)


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with open_stage() as stage:
        yield stage


async def hurry(seconds: float) -> None:
    """No pause between attempts; those between heartbeats stay."""
    await asyncio.sleep(seconds if seconds >= 30 else 0)


@asynccontextmanager
async def working(
    url: str, command: Sequence[str], **ways: Any
) -> AsyncIterator[asyncio.Task[None]]:
    """A worker for alpha in this process, which does not pause between its failures."""
    pace = Pace(tries=2, sleep=hurry, random=lambda: 0.0)
    async with AgentClient(url, agent_id="alpha", pace=pace) as agent:
        task = asyncio.ensure_future(work.Worker(agent, command, pace, **ways).run())
        try:
            yield task
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError, HubError):
                await task


@asynccontextmanager
async def acting(
    shell: Shell, stage: Stage, *flags: str, name: tuple[str, ...] = ()
) -> AsyncIterator[Process]:
    """A worker for alpha whose commands are those of the stage; all of them end with it."""
    command = stage.command(*name)
    async with shell.running("work", "alpha", *flags, "--", *command) as worker:
        try:
            yield worker
        finally:
            stage.close()


async def until_done(rest: Caller, agent_id: str = "alpha") -> None:
    """Until nothing is owed to it."""

    async def is_empty() -> bool:
        return not (await rest.look(agent_id))["messages"]

    await until(is_empty)


async def until_states(rest: Caller, *states: str) -> None:
    async def are_so() -> bool:
        return await rest.states("alpha") == list(states)

    await until(are_so)


async def has_no_failure(rest: Caller, message_id: str) -> bool:
    """Whether it can still be given back as often as any message. It is spent by that."""
    for _ in range(6):
        if not await rest.states("alpha"):
            return False
        lease = (await rest.receive("alpha", ack="manual"))["lease_id"]
        await rest.ack("alpha", release=[message_id], lease_id=lease)
    standing: dict[str, str] = await rest.standing("beta", message_id)
    return standing == {"alpha": "dead"}


# --- what goes in and out -------------------------------------------------------------------


async def test_what_the_command_writes_is_the_reply_to_who_asks(shell: Shell, rest: Caller) -> None:
    async with shell.running("work", "alpha", "--", "tr", "a-z", "A-Z") as worker:
        asked = await shell.run("ask", "--from", "beta", "alpha", "two\nlines")
        assert asked == Ended(0, "TWO\nLINES\n", "")
        answer = await rest.send("beta", "alpha", "once more", wait=50)
        assert (answer["reply"]["type"], answer["reply"]["text"]) == ("response", "ONCE MORE")
        await until_done(rest)
        worker.terminate()
        assert await end(worker) == Ended(0, "", "")


@pytest.mark.parametrize(
    ("draft", "given"),
    [
        ({"text": "a\x1b[2J 値\n", "payload": {"b": 1}}, "a\x1b[2J 値\n"),
        ({"payload": {"n": [1, "値"]}}, '{"n": [1, "\\u5024"]}\n'),
        ({"type": "ping"}, "{}\n"),
    ],
)
async def test_the_command_reads_the_text_or_else_the_payload(
    shell: Shell, rest: Caller, stage: Stage, draft: dict[str, Any], given: str
) -> None:
    await rest.post("/api/v1/messages", {"from": "beta", "to": "alpha", **draft}, status=202)
    async with acting(shell, stage):
        assert (await stage.run()).given == given


async def test_with_json_the_command_reads_the_message_as_the_doors_show_it(
    shell: Shell, rest: Caller, stage: Stage
) -> None:
    await rest.send("beta", "alpha", "x", reply_to=M_0)
    [looked] = (await rest.look("alpha"))["messages"]
    del looked["state"]
    async with acting(shell, stage, "--json"):
        given = (await stage.run()).given
    assert json.loads(given) == {**looked, "attempt": 1}
    assert given.endswith("}\n")


async def test_variables_tell_of_the_message_and_never_the_token(
    served: RunningHub, rest: Caller, stage: Stage
) -> None:
    outer = {"MESSAGE_REPLY_TO": "outer", "TRACEPARENT": "outer", "AGENT_HUB_TOKEN": "ah_secret"}
    shell = Shell(served.url, {**outer, "OTHER": "stays"})
    draft = {"from": "beta", "to": "alpha", "text": "x", "type": "request"}
    traced = {"traceparent": TRACE}
    first = await rest.post("/api/v1/messages", draft, status=202, headers=traced)
    await rest.send("gamma", "alpha", "y", reply_to=M_0)
    async with acting(shell, stage, "--jobs", "2"):
        runs = {(run := await stage.run()).given: told(run) for _ in range(2)}
    assert runs["x"] == {
        "MESSAGE_ID": first["message_id"],
        "MESSAGE_FROM": "beta",
        "MESSAGE_TYPE": "request",
        "TRACEPARENT": TRACE,
        "OTHER": "stays",
    }
    assert (runs["y"]["MESSAGE_FROM"], runs["y"]["MESSAGE_REPLY_TO"]) == ("gamma", M_0)
    assert "TRACEPARENT" not in runs["y"]


def told(run: Run) -> dict[str, str]:
    named = ("MESSAGE_", "TRACE", "OTHER", "AGENT_HUB_TOKEN")
    return {name: value for name, value in run.variables.items() if name.startswith(named)}


async def test_the_command_is_taken_word_for_word(shell: Shell, rest: Caller) -> None:
    script = ("sh", "-c", 'printf "%s|" "$@"', "sh", "--json", "--", "$HOME", "two words")
    async with shell.running("work", "alpha", "--jobs", "2", "--", *script):
        answer = await rest.send("beta", "alpha", "x", wait=50)
    assert answer["reply"]["text"] == "--json|--|$HOME|two words|"


async def test_a_command_that_reads_nothing_and_says_nothing_is_done_without_a_reply(
    shell: Shell, rest: Caller
) -> None:
    await rest.send("beta", "alpha", "x" * MAX_CONTENT_BYTES)
    async with shell.running("work", "alpha", "--", "echo"):
        await until_done(rest)
    assert (await rest.look("beta"))["messages"] == []


@pytest.mark.parametrize(
    ("flags", "kind"),
    [
        (["--no-reply"], "request"),
        ([], "response"),
        ([], "ack"),
        ([], "heartbeat"),
    ],
)
async def test_what_is_not_to_be_sent_is_written_where_the_worker_writes(
    shell: Shell, rest: Caller, flags: list[str], kind: str
) -> None:
    await rest.send("beta", "alpha", "to be read", type=kind)
    async with shell.running("work", "alpha", *flags, "--", "cat") as worker:
        await until_done(rest)
        worker.terminate()
        assert await end(worker) == Ended(0, "to be read", "")
    assert (await rest.look("beta"))["messages"] == []


async def test_what_the_hub_could_not_deliver_is_told_and_no_command_is_run_for_it(
    shell: Shell, rest: Caller, clock: ManualClock
) -> None:
    await rest.send("alpha", "gamma", "x", ttl=1)
    await clock.advance(2)
    async with shell.running("work", "alpha", "--", "sh", "-c", "echo run >&2") as worker:
        await until_done(rest)
        worker.terminate()
        ended = await end(worker)
    assert ended.err.startswith("agent-hub: hub (hub.undelivered): 1 message to gamma not deliver")
    assert len(ended.err.splitlines()) == 1


async def test_two_workers_that_reply_to_each_other_come_to_an_end(
    shell: Shell, rest: Caller, served: RunningHub
) -> None:
    async with (
        shell.running("work", "alpha", "--", "cat") as alpha,
        shell.running("work", "beta", "--", "cat") as beta,
    ):
        await rest.send("beta", "alpha", "Hello")
        assert await read(beta, len("Hello")) == "Hello"
        await until_done(rest, "beta")
        for worker in (alpha, beta):
            worker.terminate()
            assert await end(worker) == Ended(0, "", "")
    assert await accepted(served) == 2


async def read(worker: Process, length: int) -> str:
    """What it writes, which has no line ends."""
    assert worker.stdout is not None
    async with asyncio.timeout(PATIENCE):
        return (await worker.stdout.readexactly(length)).decode()


async def accepted(hub: RunningHub) -> float:
    """How many messages were sent in all."""
    async with hub.session.get("/metrics") as answer:
        counts = re.findall(
            r"^agenthub_messages_accepted_total\{.* (\S+)$", await answer.text(), re.MULTILINE
        )
    return sum(map(float, counts))


# --- what goes wrong ------------------------------------------------------------------------


FAILURES = {
    "exit 3": "the command ended with code 3\n",
    "echo said; kill -9 $$": "the command ended with signal 9: said\n",
    "yes": f"the command wrote more than {MAX_CONTENT_BYTES} bytes",
    "printf '\\377'": "the command wrote what is no text in UTF-8: ",
}


@pytest.mark.parametrize(("script", "why"), FAILURES.items())
async def test_what_fails_is_given_back_with_one_line(
    shell: Shell, rest: Caller, script: str, why: str
) -> None:
    sent = await rest.send("beta", "alpha", "x")
    async with shell.running("work", "alpha", "--", "sh", "-c", script) as worker:
        for _ in range(2):
            said = await line(worker.stderr)
            assert said.startswith(f"agent-hub: {sent['message_id']} from beta goes back: {why}")
        worker.terminate()
        assert (await end(worker)).code == 0
    assert await rest.states("alpha") == ["ready"]
    assert not await has_no_failure(rest, sent["message_id"])


@pytest.mark.parametrize("script", FAILURES)
async def test_what_fails_for_the_sixth_time_is_dead_and_its_sender_is_told(
    served: RunningHub, rest: Caller, clock: ManualClock, script: str
) -> None:
    sent = await rest.send("beta", "alpha", "x")
    async with working(served.url, ["sh", "-c", script]):
        await until_done(rest)
    assert await rest.standing("beta", sent["message_id"]) == {"alpha": "dead"}
    await clock.advance(1)
    [notice] = (await rest.receive("beta"))["messages"]
    assert (notice["type"], notice["payload"]["reasons"]) == ("hub.undelivered", {"dead": 1})


async def test_a_reply_that_is_refused_for_a_minute_gives_the_message_back(
    served: RunningHub, rest: Caller, caplog: pytest.LogCaptureFixture
) -> None:
    await fill(served, "beta")
    await rest.send("beta", "alpha", "x" * MAX_CONTENT_BYTES)
    async with working(served.url, ["cat"]):
        await until(lambda: "the reply was refused: inbox_full" in caplog.text)
    while (await rest.receive("beta", limit=200))["messages"]:
        pass
    async with working(served.url, ["cat"]):
        await until_done(rest)
    [reply] = (await rest.receive("beta"))["messages"]
    assert len(reply["text"]) == MAX_CONTENT_BYTES


async def fill(hub: RunningHub, agent_id: str) -> None:
    """With mail of many, of whom none has more than its share."""
    for number in count():
        draft = {"from": f"s{number}", "to": agent_id, "text": "x" * MAX_CONTENT_BYTES}
        async with hub.session.post("/api/v1/messages", json=draft) as answer:
            if answer.status == 429:
                return


async def test_a_worker_that_may_not_send_ends_and_no_message_suffers_for_it(
    tmp_path: Path, clock: ManualClock
) -> None:
    async with guarded_hub(tmp_path, clock) as guarded:
        token = await guarded.token("alpha", scopes=ORDINARY - {Scope.SEND})
        beta = Shell(guarded.hub.url, {"AGENT_HUB_TOKEN": await guarded.token("beta")})
        await beta.run("send", "--from", "beta", "alpha", "x")
        alpha = Shell(guarded.hub.url, {"AGENT_HUB_TOKEN": token})
        ended = await alpha.run("work", "alpha", "--", "cat")
        assert (ended.code, ended.out) == (1, "")
        assert ended.err.startswith("agent-hub: insufficient_scope")
        assert len(ended.err.splitlines()) == 1
        back = await alpha.run("receive", "alpha", "--json")
        assert json.loads(back.out)["attempt"] == 2


async def test_a_command_that_is_not_there_is_an_argument_that_is_wrong() -> None:
    ended = await Shell("http://nowhere.invalid").run("work", "alpha", "--", "no-such-program")
    assert ended == Ended(
        2, "", "agent-hub: COMMAND cannot be started: no program 'no-such-program'\n"
    )


async def test_a_command_that_cannot_be_started_ends_the_worker_and_no_message_suffers_for_it(
    shell: Shell, rest: Caller, tmp_path: Path
) -> None:
    command = tmp_path / "command"
    command.write_text("#!/no/such/interpreter\n", encoding="utf-8")
    command.chmod(0o755)
    sent = await rest.send("beta", "alpha", "x")
    ended = await shell.run("work", "alpha", "--", str(command))
    said = f"agent-hub: cannot start {command}: No such file or directory\n"
    assert ended == Ended(1, "", said)
    assert await has_no_failure(rest, sent["message_id"])


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["work", "alpha"], "COMMAND"),
        (["work", "alpha", "--"], "COMMAND"),
        (["work", "--", "cat"], "AGENT"),
        (["work", "alpha", "cat"], "cat"),
        (["work", "alpha", "--jobs", "0", "--", "cat"], "--jobs"),
        (["work", "alpha", "--jobs", "65", "--", "cat"], "64"),
        (["work", "alpha", "--url", "localhost:8080", "--", "cat"], "localhost:8080"),
    ],
)
async def test_a_wrong_argument_is_exit_code_2_and_one_line(
    arguments: list[str], named: str
) -> None:
    ended = await Shell("http://nowhere.invalid").run(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("agent-hub: ")
    assert named in ended.err
    assert len(ended.err.splitlines()) == 1


# --- crashes --------------------------------------------------------------------------------


async def test_what_a_killed_worker_had_begun_comes_to_the_next_one(
    shell: Shell, rest: Caller, stage: Stage
) -> None:
    sent = await rest.send("beta", "alpha", "x")
    async with acting(shell, stage) as first:
        await stage.run()
        first.kill()
    await until_states(rest, "ready")
    async with acting(shell, stage):
        (await stage.run()).end("done")
        await until_done(rest)
    [reply] = (await rest.receive("beta"))["messages"]
    assert (reply["reply_to"], reply["text"]) == (sent["message_id"], "done")


@pytest.mark.parametrize("second", ["the same", "something else"])
async def test_a_worker_killed_between_reply_and_acknowledgement_has_replied_once(
    served: RunningHub,
    shell: Shell,
    rest: Caller,
    stage: Stage,
    monkeypatch: pytest.MonkeyPatch,
    second: str,
) -> None:
    await rest.send("beta", "alpha", "x")
    async with acting(shell, stage) as first:
        send = served.hub.send

        async def send_and_kill(*arguments: Any) -> Any:
            sent = await send(*arguments)
            first.kill()
            return sent

        monkeypatch.setattr(served.hub, "send", send_and_kill)
        (await stage.run()).end("the same")
        await first.wait()
        monkeypatch.setattr(served.hub, "send", send)
    await until_states(rest, "ready")
    async with acting(shell, stage) as worker:
        (await stage.run()).end(second)
        await until_done(rest)
        worker.terminate()
        ended = await end(worker)
    assert ("has its reply already" in ended.err) is (second != "the same")
    assert [one["text"] for one in (await rest.receive("beta"))["messages"]] == ["the same"]


@asynccontextmanager
async def hub_on_disk(path: Path, port: int) -> AsyncIterator[None]:
    settings = Settings(rate_limit=0, backend=f"sqlite:///{path}")
    async with TestServer(create_app(settings), port=port):
        yield


@asynccontextmanager
async def caller(url: str) -> AsyncIterator[Caller]:
    async with ClientSession(url) as session:
        yield Caller(session)


@pytest.mark.parametrize("ends", ["while the hub is away", "after the hub came back"])
async def test_a_restart_of_the_hub_does_not_disturb_what_runs(
    tmp_path: Path, stage: Stage, caplog: pytest.LogCaptureFixture, ends: str
) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    async with working(url, stage.command()), caller(url) as rest:
        async with hub_on_disk(tmp_path / "hub.db", port):
            await rest.send("beta", "alpha", "x")
            run = await stage.run()
        if ends == "while the hub is away":
            run.end("done")
            await until(lambda: "waits for the hub" in caplog.text)
        async with hub_on_disk(tmp_path / "hub.db", port):
            if ends == "after the hub came back":
                await until_states(rest, "leased")
                run.end("done")
            await until_done(rest)
            assert [one["text"] for one in (await rest.receive("beta"))["messages"]] == ["done"]
    assert len(stage.entered) == 1


async def test_a_worker_whose_place_is_taken_ends_with_what_it_runs(
    shell: Shell, rest: Caller, stage: Stage
) -> None:
    await rest.send("beta", "alpha", "x")
    async with acting(shell, stage) as first:
        taken = await stage.run()
        async with acting(shell, stage):
            assert await taken.line() == ""
            ended = await end(first)
            (await stage.run()).end("done")
            await until_done(rest)
    assert ended.code == 1
    assert ended.err.startswith("agent-hub: replaced: ")
    assert len(ended.err.splitlines()) == 1


# --- how much at once -----------------------------------------------------------------------


async def test_two_jobs_run_two_commands_at_once_and_not_more(
    shell: Shell, rest: Caller, stage: Stage
) -> None:
    for number in range(4):
        await rest.send("beta", "alpha", f"{number}")
    async with acting(shell, stage, "--jobs", "2"):
        first, second = await stage.run(), await stage.run()
        await until_states(rest, *["leased"] * 4)
        assert await next_but_for_one_started_now(stage) == ["started now"]
        second.end("done")
        third = await stage.run()
        assert third.given == "2"
        assert await next_but_for_one_started_now(stage) == ["started now"]
        first.end("done")
        third.end("done")
        (await stage.run()).end("done")
        await until_done(rest)
    assert len(stage.entered) == 4 + 2


async def next_but_for_one_started_now(stage: Stage) -> list[str]:
    """The name of the next run, which is one that is started here unless another is on its way."""
    command = stage.command("started now")
    process = await asyncio.create_subprocess_exec(*command, stdin=DEVNULL)
    name = (await stage.run()).name
    process.kill()
    await process.wait()
    return name


async def test_what_a_command_leaves_running_ends_with_it(
    served: RunningHub, rest: Caller, stage: Stage
) -> None:
    await rest.send("beta", "alpha", "x")
    script = ("sh", "-c", '"$@" child & exec "$@" parent', "sh", *stage.command())
    async with working(served.url, script):
        runs = {(run := await stage.run()).name[0]: run for _ in range(2)}
        runs["parent"].end("done")
        assert await runs["child"].line() == ""
        await until_done(rest)


# --- told to stop ---------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_a_worker_that_is_told_to_stop_gives_back_what_it_runs_without_a_failure(
    shell: Shell, rest: Caller, stage: Stage, number: signal.Signals
) -> None:
    sent = await rest.send("beta", "alpha", "x")
    async with acting(shell, stage) as worker:
        run = await stage.run()
        worker.send_signal(number)
        code, out, err = await end(worker)
        assert await run.line() == ""
    assert (code, out) == (0, "")
    assert "agent-hub" not in err  # a traceback of the command's, for Ctrl-C
    assert await rest.states("alpha") == ["ready"]
    assert await has_no_failure(rest, sent["message_id"])


async def test_a_worker_that_nohup_started_works_on_when_its_terminal_is_gone(
    served: RunningHub, rest: Caller, stage: Stage
) -> None:
    await rest.send("beta", "alpha", "x")
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        async with working(served.url, stage.command()):
            run = await stage.run()
            signal.raise_signal(signal.SIGHUP)
            run.end("done")
            await until_done(rest)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert [one["text"] for one in (await rest.receive("beta"))["messages"]] == ["done"]


async def test_a_command_that_ends_well_after_the_signal_has_done_its_work(
    shell: Shell, rest: Caller, stage: Stage
) -> None:
    await rest.send("beta", "alpha", "x")
    async with acting(shell, stage, name=("stubborn",)) as worker:
        run = await stage.run()
        worker.terminate()
        assert await run.line() == f"{int(signal.SIGTERM)}\n"
        run.end("done")
        assert await end(worker) == Ended(0, "", "")
    assert await rest.states("alpha") == []
    assert [one["text"] for one in (await rest.receive("beta"))["messages"]] == ["done"]


@pytest.mark.parametrize(("seconds", "signals"), [(0, 1), (1e9, 2)])
async def test_a_command_that_does_not_end_is_killed_in_the_end_or_at_a_second_signal(
    served: RunningHub,
    rest: Caller,
    stage: Stage,
    monkeypatch: pytest.MonkeyPatch,
    seconds: float,
    signals: int,
) -> None:
    monkeypatch.setattr(work, "STOP_SECONDS", seconds)
    await rest.send("beta", "alpha", "x")
    async with working(served.url, stage.command("stubborn")) as worker:
        run = await stage.run()
        signal.raise_signal(signal.SIGTERM)
        if signals > 1:
            assert await run.line() == f"{int(signal.SIGTERM)}\n"
            signal.raise_signal(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE):
            await worker
        while await run.line():
            pass
    assert await rest.states("alpha") == ["ready"]
