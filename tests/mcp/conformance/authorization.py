"""The suite's scenarios for authorization servers: a program asks, a person agrees."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from aiohttp import ClientSession

from tests.mcp.registries import HUB, ROOT, serving
from tests.oauth.person import Person
from tests.ports import free_port

SCENARIOS = ("authorization-server-metadata-endpoint", "authorization-code-grant")
LINK = re.compile(r"^https?://\S+/authorize\?\S+$")
SECONDS = 60.0

Checks = dict[tuple[str, str], tuple[str, str]]
"""By scenario and check: its status, and what the suite says of it."""


def run(node: Path, suite: Path) -> Checks:
    """Every check of these scenarios, against a hub that people sign in to."""
    with TemporaryDirectory() as folder:
        backend = f"sqlite:///{folder}/hub.db"
        hub = (*HUB, "--auth", "oauth", "--oauth-dynamic-registration", "--backend", backend)
        with serving(hub, free_port()) as mcp:
            base = mcp.removesuffix("/mcp")
            return asyncio.run(_sign_in(node, suite, base, backend, Path(folder)))


async def _sign_in(node: Path, suite: Path, base: str, backend: str, folder: Path) -> Checks:
    port = free_port()
    client_id = await _register(base, f"http://127.0.0.1:{port}/callback")
    with _suite(node, suite, base, client_id, port, folder) as lines:
        link = await asyncio.to_thread(lambda: next(filter(LINK.match, lines)))
        code = await asyncio.to_thread(login_code, backend)
        async with Person() as person:
            page = await person.open(link.strip())
            response = await person.answer(page, code=code)
            await person.open(response.headers["Location"])
        await asyncio.to_thread(lambda: list(lines))
    return _checks(folder)


async def _register(base: str, callback: str) -> str:
    form = {"redirect_uris": [callback], "token_endpoint_auth_method": "none"}
    async with ClientSession() as session, session.post(f"{base}/register", json=form) as answer:
        return str((await answer.json())["client_id"])


@contextmanager
def _suite(
    node: Path, suite: Path, base: str, client_id: str, port: int, folder: Path
) -> Iterator[Iterator[str]]:
    """What the suite prints, line by line, to its end."""
    command = [str(node), str(suite), "authorization", "--url", base, "--client-id", client_id]
    command += ["--resource", f"{base}/mcp", "--port", str(port), "-o", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield iter(process.stdout)
            process.wait(SECONDS)
        finally:
            process.kill()


def login_code(backend: str) -> str:
    """A code for the hub of this backend, from the command line."""
    command = [sys.executable, "server.py", "login-code", "--backend", backend]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def _checks(folder: Path) -> Checks:
    found: Checks = {}
    for path in folder.glob("**/checks.json"):
        scenario = next(name for name in SCENARIOS if name in str(path))
        for check in json.loads(path.read_text()):
            found[scenario, check["id"]] = check["status"], check.get("errorMessage", "")
    return found
