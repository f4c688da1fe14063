"""The audit log: who did what to whom, and never what was said."""

from __future__ import annotations

import hashlib
import json
import logging
import stat
from pathlib import Path
from typing import Any

import pytest

from agent_hub import cli
from agent_hub.audit import AuditLog
from agent_hub.core.audit import NO_ID, Record
from tests import canary
from tests.auth.guarded import Guarded, bearer, guarded_hub
from tests.clock import ManualClock
from tests.mcp.door import call as mcp_call
from tests.server import running_hub
from tests.web.peer import Peer

BODY = "the plan that nobody may read"


def read(path: Path) -> list[dict[str, Any]]:
    """All records; those of what was planted in the hub come last."""
    text = path.read_text()
    assert canary.found_in(text) is None
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log" / "audit.log"


async def test_each_act_is_one_line_that_says_who_did_what_to_whom(
    path: Path, tmp_path: Path, clock: ManualClock
) -> None:
    async with guarded_hub(tmp_path, clock, audit_log=str(path)) as guarded:
        alpha, beta = bearer(await guarded.token("alpha")), bearer(guarded.issuer.token())
        message_id = await send(guarded, beta)
        await post(guarded, alpha, "/messages/receive", {"agent_id": "alpha"}, 200)
        await post(guarded, alpha, "/messages/ack", {"agent_id": "alpha", "ids": [message_id]}, 200)
        await post(guarded, beta, "/messages", {"from": "alpha", "to": "beta", "text": BODY}, 403)
    records = read(path)
    sent = next(record for record in records if record["action"] == "send")
    assert sent == {
        "time": "2027-01-15T08:00:00.000Z",
        "action": "send",
        "outcome": "ok",
        "subject": "jwt:https://issuer.example beta's person",
        "credential": "jwt:token-1",
        "via": "rest",
        "peer": "127.0.0.1",
        "agent": "beta",
        "to": "alpha",
        "message_ids": [message_id],
        "size": len(BODY) + 2,
        "sha256": hashlib.sha256(BODY.encode() + b"\0{}").hexdigest(),
    }
    told = [(r["action"], r.get("agent"), r["outcome"]) for r in records[:5]]
    assert told == [
        ("send", "beta", "ok"),
        ("receive", "alpha", "ok"),
        ("deliver", "alpha", "ok"),
        ("settle", "alpha", "ok"),
        ("send", "alpha", "forbidden"),
    ]
    assert records[2]["message_ids"] == records[3]["message_ids"] == [message_id]


async def send(guarded: Guarded, headers: dict[str, str]) -> str:
    draft = {"from": "beta", "to": "alpha", "text": BODY}
    answer = await post(guarded, headers, "/messages", draft, 202)
    return str(answer["message_id"])


async def post(guarded: Guarded, headers: dict[str, str], path: str, body: Any, status: int) -> Any:
    async with guarded.hub.session.post(f"/api/v1{path}", json=body, headers=headers) as answer:
        assert answer.status == status
        return await answer.json(content_type=None)


async def test_the_other_doors_are_recorded_too(
    path: Path, tmp_path: Path, clock: ManualClock
) -> None:
    async with guarded_hub(tmp_path, clock, audit_log=str(path)) as guarded:
        beta = bearer(await guarded.token("beta"))
        body, headers = mcp_call("send_message", sender_id="beta", recipient_id="ALL", message=BODY)
        json_type = {"Content-Type": "application/json"}
        async with guarded.hub.session.post(
            "/mcp", data=body, headers={**headers, **beta, **json_type}
        ) as answer:
            assert answer.status == 200
        async with guarded.hub.session.ws_connect("/ws/beta", headers=beta, autoping=False) as one:
            peer = Peer(one, receipts=True)
            await peer.next()
            await peer.send("beta", BODY)
            assert (await peer.next())["text"] == BODY
    told = [(r["via"], r["action"], r.get("to")) for r in read(path)]
    assert ("mcp", "send", "ALL") in told
    assert ("websocket", "subscribe", None) in told
    assert ("websocket", "send", "beta") in told
    assert ("websocket", "deliver", None) in told


async def test_a_credential_that_proves_nothing_is_recorded_without_it(
    path: Path, tmp_path: Path, clock: ManualClock
) -> None:
    async with (
        guarded_hub(tmp_path, clock, audit_log=str(path)) as guarded,
        guarded.hub.session.get("/api/v1/agents", headers=bearer("ah_made-up")) as answer,
    ):
        assert answer.status == 401
    record = read(path)[0]
    assert (record["action"], record["outcome"]) == ("authenticate", "unauthenticated")
    assert (record["via"], record["peer"]) == ("rest", "127.0.0.1")
    assert "made-up" not in path.read_text()


async def test_a_revoked_token_that_is_shown_again_is_recorded_by_its_id(
    path: Path, tmp_path: Path, clock: ManualClock
) -> None:
    async with guarded_hub(tmp_path, clock, audit_log=str(path)) as guarded:
        token = await guarded.revoked()
        async with guarded.hub.session.get("/api/v1/agents", headers=bearer(token)) as answer:
            assert answer.status == 401
    assert read(path)[0]["credential"] == f"token:{token.split('_')[1]}"


async def test_nothing_of_what_was_said_or_shown_is_in_it(
    path: Path, tmp_path: Path, clock: ManualClock
) -> None:
    async with guarded_hub(tmp_path, clock, audit_log=str(path)) as guarded:
        token = await guarded.token("beta")
        await send(guarded, bearer(token))
        jwt = guarded.issuer.token()
        await post(guarded, bearer(jwt), "/agents/register", {"agent_id": "x"}, 403)
    text = path.read_text()
    assert BODY not in text
    assert token.rpartition("_")[2] not in text
    assert jwt.rpartition(".")[2] not in text


async def test_without_authentication_the_record_says_that_nobody_was_asked(
    path: Path, clock: ManualClock
) -> None:
    async with (
        running_hub(clock=clock, audit_log=str(path)) as hub,
        hub.session.get("/api/v1/agents") as answer,
    ):
        assert answer.status == 200
    record = read(path)[0]
    assert record["action"] == "list"
    assert "subject" not in record


async def test_what_a_caller_makes_up_is_not_taken_for_an_id(
    path: Path, clock: ManualClock
) -> None:
    async with running_hub(clock=clock, audit_log=str(path)) as hub:
        for method, where, body in (
            ("GET", f"/messages?agent_id={'x' * 5_000}", None),
            ("GET", f"/messages/{'y' * 500}?agent_id=beta", None),
            ("POST", "/messages/ack", {"agent_id": "beta", "ids": ["z" * 500]}),
        ):
            async with hub.session.request(method, f"/api/v1{where}", json=body) as answer:
                assert answer.status in (200, 404, 422)
    looked, stood, settled = read(path)[:3]
    assert (looked["agent"], looked["outcome"]) == (NO_ID, "invalid")
    assert stood["message_ids"] == settled["message_ids"] == [NO_ID]


# --- the file -------------------------------------------------------------------------------


def test_the_file_is_rotated_and_for_its_owner_alone(path: Path) -> None:
    log = AuditLog(path, lambda: 0.0, max_bytes=1_000)
    for number in range(100):
        log.record(Record(action="send", outcome="ok", agent=f"agent-{number}"))
    log.close()
    files = sorted(path.parent.iterdir())
    numbered = [f"audit.log.{number}" for number in range(1, len(files))]
    assert len(files) > 2
    assert [file.name for file in files] == ["audit.log", *numbered]
    assert sum(len(read(file)) for file in files) == 100
    for file in files:
        assert file.stat().st_size <= 1_000
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_what_was_there_stays(path: Path) -> None:
    for _ in range(2):
        log = AuditLog(path, lambda: 0.0)
        log.record(Record(action="send", outcome="ok"))
        log.close()
    assert len(read(path)) == 2


def test_a_disk_that_is_full_fails_no_call_and_is_told(caplog: pytest.LogCaptureFixture) -> None:
    log = AuditLog(Path("/dev/full"), lambda: 0.0)
    with caplog.at_level(logging.CRITICAL):
        for _ in range(10):
            log.record(Record(action="send", outcome="ok"))
        log.close()
    assert caplog.text.count("cannot be written") == 1


def test_a_file_that_was_moved_away_is_begun_anew(path: Path) -> None:
    audit = AuditLog(path, lambda: 0.0)
    path.rename(path.with_name("moved.log"))
    audit.record(Record(action="send", outcome="ok", via="rest", peer="127.0.0.1"))
    audit.close()
    assert len(read(path)) == 1


def test_a_folder_that_is_gone_fails_no_call_and_is_told(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    audit = AuditLog(path, lambda: 0.0)
    path.unlink()
    path.parent.rmdir()
    audit.record(Record(action="send", outcome="ok", via="rest", peer="127.0.0.1"))
    audit.close()
    assert "the audit log cannot be written; 1 records are lost" in caplog.messages


def test_a_file_that_cannot_be_opened_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="directory"):
        AuditLog(tmp_path, lambda: 0.0)


def test_what_is_done_at_the_command_line_is_recorded_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AGENT_HUB_BACKEND", f"sqlite:///{tmp_path / 'hub.db'}")
    monkeypatch.setenv("AGENT_HUB_AUDIT_LOG", str(tmp_path / "audit.log"))
    assert cli.main(["token", "create", "--agent", "beta"]) == 0
    text = capsys.readouterr().out.strip()
    assert cli.main(["token", "revoke", text]) == 0
    created, revoked = read(tmp_path / "audit-cli.log")
    token_id = text.split("_")[1]
    assert (created["action"], created["credential"]) == ("token.create", f"token:{token_id}")
    assert (revoked["action"], revoked["credential"]) == ("token.revoke", f"token:{token_id}")
    assert text not in (tmp_path / "audit-cli.log").read_text()


@pytest.mark.usefixtures("on_disk")
def test_what_the_command_line_could_not_record_it_does_not_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["token", "create", "--agent", "beta"]) == 0
    token_id = capsys.readouterr().out.rpartition("_")[0]
    (tmp_path / "file").touch()
    monkeypatch.setenv("AGENT_HUB_AUDIT_LOG", str(tmp_path / "file" / "audit.log"))
    assert cli.main(["token", "create", "--agent", "gamma"]) == 1
    assert cli.main(["token", "revoke", token_id]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert str(tmp_path / "file") in shown.err
    assert cli.main(["token", "list"]) == 0
    listed = capsys.readouterr().out
    assert "beta" in listed
    assert "gamma" not in listed
