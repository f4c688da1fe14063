"""https:// of the hub's own, and a new certificate while it runs."""

from __future__ import annotations

import asyncio
import logging
import shutil
import signal
import ssl
import sys
from pathlib import Path

import pytest
from aiohttp import ClientConnectorCertificateError, ClientSession, ClientTimeout

from agent_hub.tls import NoCertificate, Tls
from tests.acceptance.process import hub_process
from tests.certificates import certificate
from tests.patience import PATIENCE

CALL = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "tools/call",
    "params": {"name": "get_my_identity", "arguments": {}},
}


def trusting(cert: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(cert))


async def test_every_door_is_open_over_tls_and_a_new_certificate_is_taken_at_sighup(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "tls"
    folder.mkdir()
    cert, key = certificate(folder)
    flags = ["--backend", "memory", "--tls-cert", str(cert), "--tls-key", str(key)]
    async with (
        hub_process(*flags) as hub,
        ClientSession(timeout=ClientTimeout(PATIENCE)) as session,
    ):
        assert hub.url.startswith("https://127.0.0.1:")
        old = trusting(cert)
        async with session.get(f"{hub.url}/health", ssl=old) as answer:
            assert answer.status == 200
        async with session.ws_connect(f"{hub.url}/ws/beta", ssl=old) as socket:
            assert (await socket.receive_json())["type"] == "hub.welcome"
            accept = {"Accept": "application/json, text/event-stream"}
            async with session.post(f"{hub.url}/mcp", json=CALL, headers=accept, ssl=old) as answer:
                assert hub.url in (await answer.text()).replace("\\/", "/")
            async with session.get(
                f"{hub.url}/health", ssl=old, headers={"Origin": hub.url}
            ) as answer:
                assert answer.status == 200  # its own page

            new_cert, new_key = certificate(tmp_path, "new")
            shutil.copy(new_cert, cert)
            shutil.copy(new_key, key)
            hub.process.send_signal(signal.SIGHUP)
            await hub.log.event("the certificate was read again")
            await socket.send_json({"type": "heartbeat"})  # what is open goes on
            assert not socket.closed
        async with (
            ClientSession(timeout=ClientTimeout(PATIENCE)) as fresh,
            fresh.get(f"{hub.url}/health", ssl=trusting(new_cert)) as answer,
        ):
            assert answer.status == 200
        async with ClientSession(timeout=ClientTimeout(PATIENCE)) as fresh:
            with pytest.raises(ClientConnectorCertificateError):
                await fresh.get(f"{hub.url}/health", ssl=old)


def test_nothing_older_than_tls_1_2_is_spoken(tmp_path: Path) -> None:
    context = Tls(*certificate(tmp_path)).context
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2


def test_what_makes_no_certificate_is_named_in_one_line(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    _, other_key = certificate(tmp_path, "other")
    _, locked = certificate(tmp_path, "locked", password=b"secret")
    garbage = tmp_path / "garbage"
    garbage.write_text("no PEM")
    pairs = [(cert, other_key), (cert, garbage), (garbage, key), (cert, tmp_path / "nowhere")]
    for pair in [*pairs, (tmp_path / "locked.pem", locked), (tmp_path, key)]:
        with pytest.raises(NoCertificate) as refusal:
            Tls(*pair)
        assert str(pair[0]) in str(refusal.value)
        assert "\n" not in str(refusal.value)


def test_a_new_pair_that_does_not_fit_changes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cert, key = certificate(tmp_path)
    tls = Tls(cert, key)
    shutil.copy(certificate(tmp_path, "other")[0], cert)  # the key comes a moment later
    with caplog.at_level(logging.ERROR):
        tls.reload()
    assert "stays as it was" in caplog.text
    shutil.copy(tmp_path / "other.key", key)
    with caplog.at_level(logging.INFO, "agent_hub"):
        tls.reload()
    assert "read again" in caplog.text


async def test_a_start_without_a_good_certificate_says_why(tmp_path: Path) -> None:
    cert, _ = certificate(tmp_path)
    _, other = certificate(tmp_path, "other")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "agent_hub",
        "--backend",
        "memory",
        "--port",
        "0",
        "--tls-cert",
        str(cert),
        "--tls-key",
        str(other),
        stderr=asyncio.subprocess.PIPE,
        cwd=tmp_path,
        env={"PYTHONPATH": str(Path(__file__).parent.parent)},
    )
    _, shown = await process.communicate()
    assert process.returncode == 1
    assert "cannot start" in shown.decode()
    assert "mismatch" in shown.decode()
