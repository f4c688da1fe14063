"""What the hub shows of its settings, and what it hides."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from agent_hub import cli
from agent_hub.config import REDIS_URL, Settings, SettingsError, load, secret_fields
from agent_hub.settings_shown import HIDDEN, as_markdown, masked, shown

REFERENCE = Path(__file__).parent.parent / "docs" / "settings.md"
SECRET = "hunter2"
URL = f"redis://hub:{SECRET}@redis.example:6379/0"

pytestmark = pytest.mark.usefixtures("elsewhere")

Captured = pytest.CaptureFixture[str]


def sources(**flags: str) -> dict[str, str]:
    return {one.name: one.source for one in shown(load(flags), flags)}


def test_each_setting_is_shown_with_where_it_comes_from(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (elsewhere / ".env").write_text("AGENT_HUB_HOST=::1\nAGENT_HUB_RATE_BURST=5\nLOG_LEVEL=error\n")
    monkeypatch.setenv("AGENT_HUB_RATE_BURST", "6")
    monkeypatch.setenv("MCP_SERVER_PORT", "9000")
    monkeypatch.setenv("AGENT_HUB_OVERFLOW", "")
    told = sources(message_ttl="60")
    assert told.keys() == Settings.model_fields.keys()
    assert {name: source for name, source in told.items() if source != "default"} == {
        "host": "AGENT_HUB_HOST in .env",
        "port": "MCP_SERVER_PORT",
        "message_ttl": "--message-ttl",
        "rate_burst": "AGENT_HUB_RATE_BURST",
        "log_level": "LOG_LEVEL in .env",
    }


@pytest.mark.parametrize("name", ["AGENT_HUB_BACKEND", "QUEUE_BACKEND"])
def test_where_plain_redis_is_comes_from_another_variable(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "redis")
    assert sources()["backend"] == name
    monkeypatch.setenv(REDIS_URL, URL)
    assert sources()["backend"] == f"{name}, REDIS_URL"
    assert sources(backend="redis")["backend"] == "--backend, REDIS_URL"


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (URL, f"redis://hub:{HIDDEN}@redis.example:6379/0"),
        (f"rediss://:{SECRET}@h", f"rediss://:{HIDDEN}@h"),
        (f"redis://:{SECRET}@@h", f"redis://:{HIDDEN}@h"),
        (f"redis://h:1/0?password={SECRET}", f"redis://h:1/0?{HIDDEN}"),
        (f"unix://hub:{SECRET}@/run/redis.sock", f"unix://hub:{HIDDEN}@/run/redis.sock"),
        ("redis://h:6379/0", "redis://h:6379/0"),
        ("sqlite:///hub.db", "sqlite:///hub.db"),
        ("sqlite", "sqlite"),
        (SECRET, HIDDEN),
        ("", ""),
    ],
)
def test_no_password_is_shown(value: str, told: str) -> None:
    assert masked(value, is_secret=True) == told


@pytest.mark.parametrize("form", [[], ["--json"], ["--markdown"]])
def test_the_command_shows_the_settings_and_no_secret(
    form: list[str], capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENT_HUB_BACKEND", URL)
    assert cli.main(["config", *form, "--port", "9000"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert SECRET not in out
    if form == ["--json"]:
        told = json.loads(out)
        assert told["port"] == {"value": 9000, "source": "--port"}
        assert told["backend"]["source"] == "AGENT_HUB_BACKEND"
        assert told["cors_origin"] == {"value": [], "source": "default"}
    elif not form:
        assert re.search(r"^port +9000 +--port$", out, re.MULTILINE)
        assert len(out.splitlines()) == len(Settings.model_fields)


def test_the_command_refuses_wrong_settings_as_a_start_does(capsys: Captured) -> None:
    assert cli.main(["config", "--port", "http"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("agent-hub: --port: ")
    assert len(err.splitlines()) == 1


def test_the_reference_is_what_the_command_prints() -> None:
    page = REFERENCE.read_text(encoding="utf-8")
    assert f"<!-- agent-hub config --markdown -->\n{as_markdown()}\n<!-- end -->" in page


# --- secrets in files -------------------------------------------------------------------------


def refusal() -> str:
    with pytest.raises(SettingsError) as caught:
        load({})
    text = str(caught.value)
    assert "\n" not in text
    assert SECRET not in text
    return text


def test_a_secret_can_stand_in_a_file(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (elsewhere / "secret").write_text(f"{URL}\n")
    monkeypatch.setenv("AGENT_HUB_BACKEND_FILE", "secret")
    assert load({}).redis_url == URL
    assert sources()["backend"] == "AGENT_HUB_BACKEND_FILE"
    monkeypatch.setenv("AGENT_HUB_BACKEND", "")
    monkeypatch.setenv("QUEUE_BACKEND", "memory")
    assert load({}).redis_url == URL
    assert load({"backend": "memory"}).backend == "memory"


def test_a_secret_and_its_file_together_are_refused(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (elsewhere / ".env").write_text("AGENT_HUB_BACKEND=memory\n")
    monkeypatch.setenv("AGENT_HUB_BACKEND_FILE", "secret")
    assert refusal() == "AGENT_HUB_BACKEND_FILE: AGENT_HUB_BACKEND is set too; keep one of them"


def test_a_file_that_holds_no_secret_stops_the_start(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENT_HUB_BACKEND_FILE", "secret")
    assert refusal() == "AGENT_HUB_BACKEND_FILE: secret: No such file or directory"
    (elsewhere / "secret").write_text(" \n")
    assert refusal() == "AGENT_HUB_BACKEND_FILE: secret is empty"
    (elsewhere / "secret").write_bytes(b"\xff\xfe")
    assert refusal() == "AGENT_HUB_BACKEND_FILE: secret is not UTF-8 text"
    (elsewhere / "secret").write_text(f"gopher://:{SECRET}@h")
    assert refusal().startswith("AGENT_HUB_BACKEND_FILE: this backend is not available")


def test_only_what_may_hold_a_secret_can_stand_in_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "backend" in secret_fields()
    monkeypatch.setenv("AGENT_HUB_PORT_FILE", "port")
    assert refusal().startswith("AGENT_HUB_PORT_FILE: no such setting")
