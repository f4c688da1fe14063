"""The command line: one program under three names."""

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from agent_hub import __version__, cli, logs
from agent_hub.config import Settings
from agent_hub.queue_backends.lock import FileLock
from tests.patience import PATIENCE
from tests.ports import free_port
from tests.spawned import spawned

ROOT = Path(__file__).parent.parent
SERVER = str(ROOT / "server.py")
PROGRAMS = [[SERVER], ["-m", "agent_hub"], ["-m", "agent_hub", "serve"]]

pytestmark = pytest.mark.usefixtures("elsewhere")


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Settings]]:
    """The settings of each start, with a hub that ends at once with exit code 7."""
    starts: list[Settings] = []

    def run(settings: Settings, on_reload: object) -> int:
        starts.append(settings)
        return 7

    serving = ModuleType("agent_hub.serving")
    serving.run = run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "agent_hub.serving", serving)
    root, ours = logging.getLogger(), logging.getLogger(logs.OURS)
    before = root.handlers[:], root.level, ours.level
    yield starts
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    ours.setLevel(before[2])


def run_program(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), **variables},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


@pytest.mark.parametrize("command", [[], ["serve"]])
def test_the_hub_starts_with_the_flags_whether_serve_is_said_or_not(
    command: list[str], started: list[Settings]
) -> None:
    flags = ["--port", "9000", "--cors-origin", "https://a.example", "--overflow", "drop-oldest"]
    assert cli.main([*command, *flags]) == 7
    assert started[0].port == 9000
    assert started[0].cors_origin == ("https://a.example",)
    assert started[0].overflow == "drop-oldest"


def test_arguments_come_from_the_process_when_none_are_given(
    started: list[Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["server.py", "--port", "9001"])
    assert cli.main() == 7
    assert started[0].port == 9001


def test_a_flag_that_is_absent_leaves_the_environment_its_say(
    started: list[Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENT_HUB_RATE_BURST", "5")
    monkeypatch.setenv("AGENT_HUB_INSECURE", "true")
    cli.main([])
    cli.main(["--rate-burst", "6", "--no-insecure"])
    assert [(each.rate_burst, each.insecure) for each in started] == [(5, True), (6, False)]


def test_a_reader_that_has_seen_enough_ends_a_command_without_a_traceback() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        ended = subprocess.run(
            [sys.executable, SERVER, "config"],
            stdout=writing,
            stderr=subprocess.PIPE,
            timeout=PATIENCE,
            check=False,
        )
    finally:
        os.close(writing)
    assert (ended.returncode, ended.stderr) == (1, b"")


def test_every_setting_is_a_flag_with_its_default_in_the_help(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for arguments in (["--help"], ["serve", "--help"]):
        with pytest.raises(SystemExit) as ended:
            cli.main(arguments)
        assert ended.value.code == 0
        shown = capsys.readouterr().out
        for name in Settings.model_fields:
            assert f"--{name.replace('_', '-')}" in shown
        assert "(default: 127.0.0.1)" in shown
        assert "(default: 300)" in shown


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--port", "x"], "--port"),
        (["serve", "--port", "x"], "--port"),
        (["--prot", "9000"], "--prot"),
        (["--por", "9000"], "--por"),
        (["--port"], "--port"),
        (["stop"], "invalid choice: 'stop'"),
        (["stop", "--port", "9000"], "invalid choice: 'stop'"),
        (["--workers", "2"], "--workers"),
    ],
)
def test_a_wrong_argument_ends_with_exit_code_2_and_one_line_naming_it(
    arguments: list[str],
    named: str,
    capsys: pytest.CaptureFixture[str],
    started: list[Settings],
) -> None:
    try:
        code: object = cli.main(arguments)
    except SystemExit as ended:
        code = ended.code
    shown = capsys.readouterr()
    assert code == 2
    assert named in shown.err
    assert len(shown.err.splitlines()) == 1
    assert not shown.out
    assert not started


@pytest.mark.parametrize("level", ["info", "critical"])
def test_an_insecure_start_warns_loudly_every_time_whatever_the_log_level(
    level: str, started: list[Settings], capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        cli.main(["--host", "0.0.0.0", "--insecure", "--log-level", level])
        shown = capsys.readouterr().err
        assert shown.count("INSECURE") == 1
        assert "0.0.0.0 port 8080" in shown
    assert len(started) == 2


def test_a_start_on_loopback_warns_of_nothing(
    started: list[Settings], capsys: pytest.CaptureFixture[str]
) -> None:
    cli.main([])
    assert capsys.readouterr().err == ""
    assert started


@pytest.mark.parametrize("program", [[SERVER], ["-m", "agent_hub"]])
def test_each_program_tells_its_version_in_a_subprocess(program: list[str]) -> None:
    ended = run_program(*program, "--version")
    assert (ended.returncode, ended.stdout) == (0, f"agent-hub {__version__}\n")


@pytest.mark.parametrize("program", PROGRAMS)
def test_each_program_refuses_an_open_host_in_a_subprocess_with_exit_code_2(
    program: list[str],
) -> None:
    ended = run_program(*program, AGENT_HUB_HOST="0.0.0.0")
    assert ended.returncode == 2
    assert ended.stderr.startswith("agent-hub: AGENT_HUB_HOST: 0.0.0.0 ")
    assert len(ended.stderr.splitlines()) == 1


def test_an_unknown_agent_hub_variable_stops_a_subprocess_with_one_line_naming_it() -> None:
    ended = run_program(SERVER, AGENT_HUB_PROT="9000")
    assert ended.returncode == 2
    assert ended.stderr == (
        "agent-hub: AGENT_HUB_PROT: no such setting; did you mean AGENT_HUB_PORT?\n"
    )


def test_what_the_hubs_clients_read_may_stand_where_a_hub_starts(
    started: list[Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENT_HUB_URL", "http://127.0.0.1:9000/")
    monkeypatch.setenv("AGENT_HUB_TOKEN", "ah_x")
    assert cli.main([]) == 7
    assert started


def test_the_client_is_imported_at_its_first_use_and_not_before() -> None:
    code = "import agent_hub, sys; assert 'agent_hub.client' not in sys.modules"
    use = "; agent_hub.AgentClient; assert 'agent_hub.client' in sys.modules"
    ended = run_program("-c", code + use)
    assert ended.returncode == 0, ended.stderr


def test_the_package_has_no_other_surprises() -> None:
    import agent_hub

    with pytest.raises(AttributeError, match="no attribute 'AgentServer'"):
        _ = agent_hub.AgentServer


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_hub_whose_caller_has_closed_its_streams_serves_and_ends_in_order(closed: str) -> None:
    port = free_port()
    hub = [sys.executable, SERVER, "--port", str(port), "--backend", "memory"]
    with spawned(["sh", "-c", f'exec "$@" {closed}', "sh", *hub], port) as process:
        pass
    assert process.returncode == 0


@pytest.mark.parametrize("name", ["hub.db", "link.db"])
def test_a_second_hub_on_one_file_is_refused_by_one_line(name: str, tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "hub.db")
    lock.acquire()
    (tmp_path / "link.db").symlink_to("hub.db")
    backend = f"sqlite:///{tmp_path}/{name}"
    command = [sys.executable, SERVER, "--port", "0", "--backend", backend]
    ended = subprocess.run(command, capture_output=True, timeout=PATIENCE, check=False)
    lock.release()
    assert ended.returncode == 1
    [line] = ended.stderr.decode().splitlines()
    assert f"cannot start: {tmp_path}/hub.db is in use by another hub" in line
