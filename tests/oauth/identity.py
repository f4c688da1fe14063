"""An outside OpenID provider on a real socket, strict with its client, and a liar when told to be.

It holds PKCE, state and the redirect to what was asked, as a real one does.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import time
from typing import Any
from urllib.parse import urlencode

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec

from tests.listening import listening

CLIENT_ID = "agent-hub"
SECRET = "hunter2"
KEY = ec.generate_private_key(ec.SECP256R1())
"""Made once, like any provider's."""


class Identity:
    """`claims` are put over those of the next ID token; `kid`, `key`, `algorithm` sign it."""

    def __init__(self) -> None:
        self.issuer = ""
        self.person: dict[str, Any] = {
            "sub": "7",
            "email": "Ada@Example.com",
            "email_verified": True,
        }
        self.claims: dict[str, Any] = {}
        self.without: set[str] = set()
        self.headers: dict[str, Any] = {}
        self.key: Any = KEY
        self.algorithm = "ES256"
        self.answer: dict[str, str] = {}
        self.metadata: dict[str, Any] = {}
        self.asked: dict[str, dict[str, str]] = {}
        self.exchanges: list[dict[str, str]] = []
        self.userinfo: dict[str, Any] | None = None

    async def discovery(self, request: web.Request) -> web.Response:
        return web.json_response(
            {
                "issuer": self.issuer,
                "authorization_endpoint": f"{self.issuer}/login",
                "token_endpoint": f"{self.issuer}/token",
                "jwks_uri": f"{self.issuer}/keys",
                "userinfo_endpoint": f"{self.issuer}/userinfo",
                "token_endpoint_auth_methods_supported": ["client_secret_basic"],
                **self.metadata,
            }
        )

    async def keys(self, request: web.Request) -> web.Response:
        to_jwk: Any = jwt.get_algorithm_by_name("ES256").to_jwk
        key = {**to_jwk(KEY.public_key(), as_dict=True), "kid": "one", "alg": "ES256"}
        return web.json_response({"keys": [key]})

    async def login(self, request: web.Request) -> web.Response:
        """The person signs in at once, and is sent back by a form's answer."""
        asked = dict(request.query)
        assert asked["response_type"] == "code"
        assert asked["client_id"] == CLIENT_ID
        assert asked["code_challenge_method"] == "S256"
        assert "openid" in asked["scope"].split()
        code = f"code-{len(self.asked)}"
        self.asked[code] = asked
        answer = {"code": code, "state": asked["state"], **self.answer}
        said = {name: value for name, value in answer.items() if value}
        raise web.HTTPFound(f"{asked['redirect_uri']}?{urlencode(said)}")

    async def token(self, request: web.Request) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        self.exchanges.append(form)
        asked = self.asked.pop(form["code"], None)
        basic = base64.b64encode(f"{CLIENT_ID}:{SECRET}".encode()).decode()
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        if (
            asked is None
            or request.headers.get("Authorization") != f"Basic {basic}"
            or challenge != asked["code_challenge"]
            or form["redirect_uri"] != asked["redirect_uri"]
        ):
            return web.json_response({"error": "invalid_grant"}, status=400)
        return web.json_response(
            {"access_token": "for userinfo", "token_type": "Bearer", "id_token": self.sign(asked)}
        )

    def sign(self, asked: dict[str, str]) -> str:
        now = int(time())
        claims = {
            "iss": self.issuer,
            "aud": CLIENT_ID,
            "iat": now,
            "exp": now + 300,
            "nonce": asked["nonce"],
            **self.person,
            **self.claims,
        }
        said = {name: value for name, value in claims.items() if name not in self.without}
        headers = {"kid": "one", **self.headers}
        return jwt.encode(said, self.key, algorithm=self.algorithm, headers=headers)

    async def more(self, request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == "Bearer for userinfo"
        return web.json_response(self.userinfo or {})


@asynccontextmanager
async def identity_provider() -> AsyncIterator[Identity]:
    identity = Identity()
    app = web.Application()
    app.router.add_get("/.well-known/openid-configuration", identity.discovery)
    app.router.add_get("/login", identity.login)
    app.router.add_post("/token", identity.token)
    app.router.add_get("/keys", identity.keys)
    app.router.add_get("/userinfo", identity.more)
    async with listening(app) as port:
        identity.issuer = f"http://127.0.0.1:{port}"
        yield identity
