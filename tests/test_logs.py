"""What the log says, and what it never says."""

import json
import logging
import re
import sys
from collections.abc import Callable, Iterator

import pytest

from agent_hub import logs

OURS = logging.getLogger("agent_hub.test")
LIBRARY = logging.getLogger("some_library")


Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def untouched_logging() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger(logs.OURS)
    access = logging.getLogger("aiohttp.access")
    before = root.handlers[:], root.level, ours.level, access.disabled
    yield
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    ours.setLevel(before[2])
    access.disabled = before[3]


def turn_into_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """To be called by the test itself: each of its phases gets a stderr of its own."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)


def test_a_record_is_one_json_line_with_its_time_in_utc(capsys: Captured) -> None:
    logs.configure("info")
    OURS.info("agent %s joined", "beta", extra={"agent": "beta", "duration": 0.25, "status": 202})
    OURS.info("line\nbreak")
    first, second = map(json.loads, capsys.readouterr().err.splitlines())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", first.pop("time"))
    assert first == {
        "level": "info",
        "event": "agent beta joined",
        "agent": "beta",
        "duration": 0.25,
        "status": 202,
    }
    assert second["event"] == "line\nbreak"


def test_without_a_stderr_nothing_is_logged_and_nothing_fails(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as closed:
        closed.setattr(sys, "stderr", None)
        logs.configure("info")
        OURS.warning("nobody reads it")
    assert capsys.readouterr() == ("", "")


def test_on_a_terminal_a_record_is_one_readable_line(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    turn_into_terminal(monkeypatch)
    logs.configure("info")
    OURS.warning("slow reader", extra={"agent": "beta", "request_id": "r1"})
    assert re.fullmatch(
        r"\S+Z warning  slow reader request_id=r1 agent=beta\n", capsys.readouterr().err
    )


def test_a_terminal_gets_no_control_characters_and_no_forged_lines(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    turn_into_terminal(monkeypatch)
    logs.configure("info")
    OURS.info("name \x1b[31mred\r\nforged \u202e", extra={"agent": "a\nb"})
    shown = capsys.readouterr().err
    assert len(shown.splitlines()) == 1
    assert shown.strip().isprintable()
    assert r"\x1b[31mred\r\nforged \u202e agent=a\nb" in shown


def test_fields_that_are_not_meant_for_the_log_stay_out(capsys: Captured) -> None:
    logs.configure("info")
    OURS.info("sent", extra={"body": "s3cret", "authorization": "Bearer s3cret"})
    assert "s3cret" not in capsys.readouterr().err


@pytest.mark.parametrize("prepare", [turn_into_terminal, lambda _: None])
def test_an_exception_is_its_type_and_places_but_not_its_text(
    prepare: Callable[[pytest.MonkeyPatch], None],
    capsys: Captured,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    prepare(monkeypatch)
    logs.configure("info")
    try:
        try:
            int("s3cret")
        except ValueError as error:
            raise RuntimeError("s3cret") from error
    except RuntimeError:
        OURS.exception("request failed")
    shown = capsys.readouterr().err
    assert "RuntimeError < " in shown
    assert "; caused by ValueError < " in shown
    assert "test_logs.py:" in shown
    assert "s3cret" not in shown
    assert len(shown.splitlines()) == 1


def test_what_the_operating_system_refused_is_said(capsys: Captured) -> None:
    logs.configure("info")
    try:
        raise OSError(28, "No space left on device")
    except OSError:
        OURS.exception("write failed")
    assert "OSError (No space left on device)" in json.loads(capsys.readouterr().err)["exception"]


def test_the_level_is_ours_and_libraries_speak_from_warnings_on(capsys: Captured) -> None:
    logs.configure("debug")
    OURS.debug("ours")
    LIBRARY.info("GET / Authorization: Bearer s3cret")
    LIBRARY.warning("theirs\nfuture: <Task exception=ValueError('s3cret')>")
    events = [json.loads(line)["event"] for line in capsys.readouterr().err.splitlines()]
    assert events == ["ours", "theirs"]


def test_a_stricter_level_holds_for_libraries_too(capsys: Captured) -> None:
    logs.configure("error")
    OURS.warning("ours")
    LIBRARY.warning("theirs")
    assert capsys.readouterr().err == ""


def test_the_access_log_is_off(capsys: Captured) -> None:
    logs.configure("debug")
    logging.getLogger("aiohttp.access").error("GET /")
    assert capsys.readouterr().err == ""


def test_configuring_again_replaces_the_handler(capsys: Captured) -> None:
    logs.configure("info")
    logs.configure("info")
    OURS.info("once")
    assert len(capsys.readouterr().err.splitlines()) == 1
