"""A second signal to end, a hang-up, and starts that fail, of a real process."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.acceptance.process import ROOT, hub_process
from tests.patience import PATIENCE
from tests.surroundings import surroundings

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
async def test_told_to_stop_twice_a_hub_ends_in_its_tracks(second: signal.Signals) -> None:
    async with hub_process() as hub:
        host, port = hub.url.removeprefix("http://").split(":")
        # A request that will not be whole: the drain waits for its handler.
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(
            b"POST /api/v1/messages HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
        )
        async with hub.session.get("/livez") as alive:
            assert alive.status == 200
        hub.process.terminate()
        await hub.log.event("shutting down")
        hub.process.send_signal(second)
        assert await asyncio.wait_for(hub.process.wait(), 10) == 128 + second
        await hub.log.event("told to stop twice")
        writer.close()


async def test_at_a_hang_up_the_settings_are_read_again_and_a_new_log_level_holds(
    tmp_path: Path,
) -> None:
    settings = tmp_path / ".env"
    settings.write_text("AGENT_HUB_LOG_LEVEL=info\n")
    async with hub_process(folder=tmp_path) as hub:
        settings.write_text("AGENT_HUB_LOG_LEVEL=debug\nAGENT_HUB_RATE_BURST=5\n")
        hub.process.send_signal(signal.SIGHUP)
        changed = await hub.log.event("the log level is debug now, after info")
        assert changed["level"] == "warning"
        await hub.log.event("rate_burst has changed: only a restart applies it")
        settings.write_text("AGENT_HUB_LOG_LEVEL=critical\n")
        hub.process.send_signal(signal.SIGHUP)
        await hub.log.event("the log level is critical now, after debug")
        hub.process.terminate()
        assert await hub.process.wait() == 0
    assert json.loads(hub.log.lines[-1])["event"].startswith("the log level is critical")


async def test_settings_that_went_wrong_change_nothing(tmp_path: Path) -> None:
    settings = tmp_path / ".env"
    async with hub_process(folder=tmp_path) as hub:
        settings.write_text("AGENT_HUB_LOG_LEVEL=debug\nAGENT_HUB_PROT=1\n")
        hub.process.send_signal(signal.SIGHUP)
        wrong = await hub.log.event("the settings stay as they were: AGENT_HUB_PROT")
        assert wrong["level"] == "error"
        async with hub.session.get("/readyz") as answer:
            assert answer.status == 200
    assert not [line for line in hub.log.lines if "the log level is" in line]


def start(*flags: str, **variables: str) -> tuple[int, list[str]]:
    """The exit code of a start that fails, and what it wrote."""
    command = [sys.executable, str(ROOT / "server.py"), "--backend", "memory", *flags]
    ended = subprocess.run(
        command,
        env=surroundings(**variables),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert ended.stdout == ""
    return ended.returncode, ended.stderr.splitlines()


@pytest.mark.parametrize(
    ("variable", "value"),
    [("AGENT_HUB_PROT", "8080"), ("AGENT_HUB_PORT", "http"), ("MCP_SERVER_PORT", "70000")],
)
def test_a_setting_that_is_wrong_stops_the_start_with_one_line_that_names_it(
    variable: str, value: str
) -> None:
    code, lines = start(**{variable: value})
    assert code == 2
    [line] = lines
    assert line.startswith(f"agent-hub: {variable}: ")


@pytest.mark.parametrize(
    ("host", "port", "told"),
    [
        ("127.0.0.1", None, "choose another with --port"),
        ("127.0.0.2", None, "choose another with --port"),
        ("::1%nowhere", 0, "--host"),
    ],
)
def test_an_address_that_cannot_be_had_stops_the_start_with_one_line_that_says_what_to_do(
    host: str, port: int | None, told: str
) -> None:
    with closing(socket.socket()) as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        port = taken.getsockname()[1] if port is None else port
        code, lines = start("--host", host, "--port", str(port), "--insecure")
    assert code == 1
    record = json.loads(lines[-1])
    assert record["level"] == "critical"
    assert record["event"].startswith(f"cannot listen on {host}:{port}: ")
    assert told in record["event"]
