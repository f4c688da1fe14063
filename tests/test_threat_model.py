"""THREAT_MODEL.md names a test for each threat, and each of them exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "THREAT_MODEL.md").read_text(encoding="utf-8")
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
ROW = re.compile(r"^\| (?!threat|---)(.+?) \| (.+?) \| (.*) \|$", re.MULTILINE)


@pytest.mark.parametrize(("path", "name"), sorted(set(NAMED.findall(PAGE))))
def test_a_test_that_is_named_exists(path: str, name: str) -> None:
    text = (ROOT / path).read_text(encoding="utf-8")
    assert re.search(rf"^(async )?def {name}\(", text, re.MULTILINE), f"{path} has no {name}"


@pytest.mark.parametrize("row", ROW.findall(PAGE), ids=lambda row: row[0][:40])
def test_each_threat_has_a_defence_and_a_test(row: tuple[str, str, str]) -> None:
    _, _, shown = row
    assert NAMED.search(shown)
