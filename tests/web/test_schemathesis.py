"""The description and the hub say the same: schemathesis holds one against the other."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path
from string import ascii_letters, digits

import pytest

from agent_hub.auth.tokens import Tokens
from agent_hub.clock import SystemClock
from agent_hub.core.clock import Timer
from agent_hub.core.principal import Scope
from agent_hub.web.openapi import BEARER
from tests.auth.memory_store import MemoryStore
from tests.server import running_hub
from tests.web.caller import REGISTER

HOOKS = Path(__file__).with_name("schemathesis_hooks.py")
SEED = 1
EXAMPLES = 100

# An agent may be named `register`: then GET and DELETE of that path are about it. A 405 there names
# them in Allow, as HTTP wants it (RFC 9110, 15.5.6), beyond what the document has under this path.
SETTINGS = f"""
[[operations]]
include-path = {[REGISTER]}
checks.allow_header_conformance.enabled = false
"""


class HurriedClock(SystemClock):
    """Lets nobody wait long, and leaves short deadlines what they are."""

    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        return super().call_later(min(delay, 0.1 + delay / 1000), callback)


@pytest.mark.parametrize(
    "auth",
    [
        pytest.param(("token",), id="asking", marks=pytest.mark.slow),
        pytest.param((), id="open", marks=pytest.mark.soak),
    ],
)
async def test_no_check_of_schemathesis_fails(auth: tuple[str, ...], tmp_path: Path) -> None:
    clock = HurriedClock()
    store = MemoryStore(clock.time)
    every_id = [f"{first}*" for first in ascii_letters + digits]
    token, _ = await Tokens(store, clock.time).create(every_id, scopes=Scope)
    shown = f'[auth.openapi.{BEARER}]\nbearer = "{token}"\n' if auth else ""
    (tmp_path / "schemathesis.toml").write_text(SETTINGS + shown)
    credentials = store if auth else None
    async with running_hub(clock=clock, auth=auth, credentials=credentials) as served:
        run = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "schemathesis.cli", "run"),
            f"{served.url}/api/v1/openapi.json",
            *("--seed", str(SEED), "--max-examples", str(EXAMPLES)),
            *("--continue-on-failure", "--no-color", "--suppress-health-check", "all"),
            cwd=tmp_path,
            env={
                **os.environ,
                "SCHEMATHESIS_HOOKS": str(HOOKS),
                "PYTHONPATH": str(Path.cwd()),
            },
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        told, _ = await run.communicate()
        totals = await served.hub.totals()
    assert run.returncode == 0, told.decode()
    assert totals.accepted > 0
