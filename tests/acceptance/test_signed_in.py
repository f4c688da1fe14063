"""People who are signed in stay so when the hub is killed, and at every node of a Redis."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from tests.acceptance.node import Node, nodes
from tests.acceptance.process import ROOT
from tests.oauth.client import CHALLENGE, VERIFIER
from tests.oauth.person import Person
from tests.redis_server import RedisServer

pytestmark = pytest.mark.slow

PUBLIC = "http://localhost:1"
"""Nobody listens there: a balancer would."""
CALLBACK = "http://127.0.0.1:1/callback"
FLAGS = ("--auth", "oauth", "--oauth-dynamic-registration", "--public-url", PUBLIC)


@pytest.fixture(params=["sqlite", "redis"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'hub.db'}"
    server: RedisServer = request.getfixturevalue("redis_server")
    server.flush()
    return server.url


class Program:
    """A program that its person signs in, at whichever node."""

    def __init__(self, backend: str) -> None:
        self._backend = backend
        self._id = ""

    async def sign_in(self, node: Node) -> dict[str, str]:
        """Its first tokens."""
        form: dict[str, Any] = {
            "redirect_uris": [CALLBACK],
            "token_endpoint_auth_method": "none",
        }
        async with (
            ClientSession(node.url) as session,
            session.post("/register", json=form) as answer,
        ):
            self._id = (await answer.json())["client_id"]
        query = (
            f"response_type=code&client_id={self._id}&redirect_uri={CALLBACK}&state=x"
            f"&code_challenge={CHALLENGE}&code_challenge_method=S256"
        )
        async with Person(PUBLIC, node.url) as person:
            back = await person.agree(f"{PUBLIC}/authorize?{query}", await self._login_code())
        exchange = {"code": back["code"], "redirect_uri": CALLBACK, "code_verifier": VERIFIER}
        status, tokens = await self.token(node, "authorization_code", **exchange)
        assert status == 200, tokens
        return tokens

    async def _login_code(self) -> str:
        command = [sys.executable, "server.py", "login-code", "--backend", self._backend]
        made = await asyncio.to_thread(
            subprocess.run, command, cwd=ROOT, check=True, capture_output=True, text=True
        )
        return str(made.stdout)

    async def token(self, node: Node, grant: str, **form: str) -> tuple[int, dict[str, str]]:
        form |= {"grant_type": grant, "client_id": self._id}
        async with (
            ClientSession(node.url) as session,
            session.post("/token", data=form) as answer,
        ):
            return answer.status, await answer.json()

    async def renew(self, node: Node, tokens: dict[str, str]) -> tuple[int, dict[str, str]]:
        return await self.token(node, "refresh_token", refresh_token=tokens["refresh_token"])

    async def revoke(self, node: Node, tokens: dict[str, str]) -> int:
        form = {"token": tokens["access_token"], "client_id": self._id}
        async with (
            ClientSession(node.url) as session,
            session.post("/revoke", data=form) as answer,
        ):
            return answer.status

    async def call(self, node: Node, tokens: dict[str, str]) -> int:
        headers = {"Authorization": f"Bearer {tokens['access_token']}"}
        async with (
            ClientSession(node.url) as session,
            session.get("/api/v1/agents", headers=headers) as answer,
        ):
            return answer.status


async def test_who_is_signed_in_stays_so_when_the_hub_is_killed(
    backend: str, tmp_path: Path
) -> None:
    async with nodes(tmp_path, 1, "--backend", backend, *FLAGS) as [node]:
        program, other = Program(backend), Program(backend)
        first, ended = await program.sign_in(node), await other.sign_in(node)
        status, second = await program.renew(node, first)
        assert status == 200
        assert await other.revoke(node, ended) == 200
        await node.kill()
        await node.start()
        assert await program.call(node, first) == 200  # sessions and keys hold
        assert await other.call(node, ended) == 401  # and revocations
        status, third = await program.renew(node, second)
        assert status == 200
        assert (await program.renew(node, first))[0] == 400  # used before the hub was killed
        assert (await program.renew(node, third))[0] == 400  # so that its family is dead


async def test_a_second_node_on_redis_knows_who_is_signed_in(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    redis_server.flush()
    backend = redis_server.url
    async with nodes(tmp_path, 2, "--backend", backend, *FLAGS) as [one, other]:
        program = Program(backend)
        first = await program.sign_in(one)
        assert await program.call(other, first) == 200
        status, second = await program.renew(other, first)
        assert status == 200
        assert await program.call(one, second) == 200
        assert (await program.renew(one, first))[0] == 400
        assert (await program.renew(other, second))[0] == 400
