"""Of words of others only what a reader would see is shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_hub.core.visible import clean


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("plain text, ünïcödé, 日本語, 🎉", "plain text, ünïcödé, 日本語, 🎉"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("\x1b[31mred\x1b[0m \x1b]0;title\x07and \x1b(Bback\b\b", "red and Bback"),
        ("erase\rd, and\r\nnot", "erase\nd, and\nnot"),
        ("user\u202egnp.exe\u2066\u200b\ufeff", "usergnp.exe"),
        ("tags\U000e0041\U000e0042, selectors\ufe0f\U000e0101", "tags, selectors"),
        ("blank\u3164\u2800\u115f", "blank"),
        ("\u2028line\x00\x7f\x9b", "\nline"),
    ],
)
def test_only_what_a_reader_would_see_is_left(written: str, read: str) -> None:
    assert clean(written) == read


@given(st.text())
def test_cleaning_twice_changes_nothing_more(text: str) -> None:
    once = clean(text)
    assert clean(once) == once
    assert "\x1b" not in once
