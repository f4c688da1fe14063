"""The systemd unit, as systemd reads it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.deploy import files
from tests.deploy.programs import libraries, program

pytestmark = pytest.mark.slow

PROGRAM = "/opt/agent-hub/bin/agent-hub"
PACKAGES = ("systemd", "libsystemd-shared", "libapparmor1", "libip4tc2", "libkmod2", "libseccomp2")
"""The program's, and those of its libraries that a small system may lack."""
MOST_EXPOSED = 15
"""In tenths; what systemd calls OK goes up to 50."""


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit, its program one that this machine has."""
    text = files.UNIT.read_text(encoding="utf-8")
    assert PROGRAM in text
    copy = tmp_path / files.UNIT.name
    copy.write_text(text.replace(PROGRAM, "/bin/true"), encoding="utf-8")
    return copy


@pytest.fixture
def analyze(packages: Path) -> tuple[Path, dict[str, str]]:
    """systemd-analyze, and where its libraries may be when they are not installed."""
    found = program("systemd-analyze", *PACKAGES, folder=packages)
    return found, {**os.environ, "LD_LIBRARY_PATH": libraries(found)}


def run(analyze: tuple[Path, dict[str, str]], *arguments: str | Path) -> tuple[int, str]:
    path, environment = analyze
    done = subprocess.run(
        [path, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        timeout=60,
    )
    return done.returncode, done.stdout + done.stderr


def test_systemd_finds_no_fault_in_the_unit(
    analyze: tuple[Path, dict[str, str]], unit: Path
) -> None:
    assert run(analyze, "verify", unit) == (0, "")
    unit.write_text(unit.read_text().replace("ProtectSystem=strict", "ProtectSystm=strict"))
    assert "ProtectSystm" in run(analyze, "verify", unit)[1]


def test_the_unit_is_shut_off_from_what_it_does_not_need(
    analyze: tuple[Path, dict[str, str]], unit: Path
) -> None:
    check = ("security", "--offline=yes", f"--threshold={MOST_EXPOSED}", unit)
    code, said = run(analyze, *check)
    assert code == 0, said
