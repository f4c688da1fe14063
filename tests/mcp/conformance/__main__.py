"""Run the suite: `python -m tests.mcp.conformance [--cache DIRECTORY]`, half a minute.

Node and the suite are fetched into the cache once. Every failing check has to be listed in
cannot_apply.toml with its reason, and every listed one has to fail.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tomllib
from fnmatch import fnmatchcase
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.mcp.conformance import authorization
from tests.mcp.registries import CACHE, HUB, fetch_modules, fetch_node, serving
from tests.ports import free_port

HERE = Path(__file__).parent
SUITE = "@modelcontextprotocol/conformance@0.2.0-alpha.12"
CANNOT_APPLY = HERE / "cannot_apply.toml"
REQUIREMENTS = ("2025-11-25", "2026-07-28")
SERVERS: dict[str, tuple[str, ...]] = {
    "hub": HUB,
    "fixture": ("-m", "tests.mcp.conformance.fixture"),
}

Failures = dict[tuple[str, str], str]
"""Scenario and check, and what the suite says of it."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, default=CACHE)
    cache: Path = parser.parse_args().cache.resolve()
    node, modules = fetch_node(cache), fetch_modules(cache, SUITE)
    suite = modules / "@modelcontextprotocol/conformance/dist/index.js"
    wrong = 0
    for name, command in SERVERS.items():
        ran: dict[str, set[str]] = {}
        failures: Failures = {}
        with serving(command, free_port()) as url:
            for revision in REQUIREMENTS:
                ran[revision], failed = run(node, suite, url, revision)
                failures |= failed
        wrong += judge(name, ran, failures)
    wrong += judge_sign_in(authorization.run(node, suite))
    return 1 if wrong else 0


def judge_sign_in(checks: authorization.Checks) -> int:
    """Print how the scenarios for authorization servers went; how many checks did not pass."""
    ran = {scenario for scenario, _ in checks}
    wrong = [f"{name}: did not run" for name in authorization.SCENARIOS if name not in ran]
    wrong += [
        f"{scenario}: {check}: {status} {why}"
        for (scenario, check), (status, why) in checks.items()
        if status != "SUCCESS"
    ]
    passed = ", ".join(sorted(check for _, check in checks))
    print(f"authorization: {len(ran)} scenarios ran; their checks: {passed}")
    for line in wrong:
        print(f"  FAILED {line}")
    return len(wrong)


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
