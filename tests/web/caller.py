"""REST calls that check what every answer has to be, and hand on the rest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from aiohttp import ClientSession
from multidict import CIMultiDictProxy

AGENTS = "/api/v1/agents"
REGISTER = f"{AGENTS}/register"
MESSAGES = "/api/v1/messages"
RECEIVE = f"{MESSAGES}/receive"
ACK = f"{MESSAGES}/ack"
INBOXES = "/api/v1/inboxes"

JSON_HEADERS = {"Content-Type": "application/json"}
PROBLEM_KEYS = {"type", "title", "status", "detail", "code", "retryable", "request_id"}

Headers = Mapping[str, str]


class Caller:
    """A client of the REST door. `headers` are those of the last answer."""

    def __init__(self, session: ClientSession) -> None:
        self.session = session
        self.headers: CIMultiDictProxy[str]

    async def call(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        status: int = 200,
        headers: Headers | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> Any:
        """The decoded answer, which must have this status."""
        sent = {**(JSON_HEADERS if body is not None else {}), **(headers or {})}
        async with self.session.request(
            method, path, data=body, headers=sent, params=params
        ) as answer:
            text = await answer.read()
            assert answer.status == status, text
            self.headers = answer.headers
            if not text:
                return None
            told = json.loads(text)
            if status >= 400:
                assert answer.content_type == "application/problem+json"
                assert set(told) >= PROBLEM_KEYS
                assert told["status"] == status
                assert told["request_id"] == answer.headers["X-Request-Id"]
            else:
                assert answer.content_type == "application/json"
            return told

    async def get(self, path: str, *, status: int = 200, **query: Any) -> Any:
        return await self.call("GET", path, status=status, params=query)

    async def post(
        self, path: str, body: Any, *, status: int = 200, headers: Headers | None = None
    ) -> Any:
        return await self.call(
            "POST", path, json.dumps(body).encode(), status=status, headers=headers
        )

    async def refused(
        self, path: str, body: bytes, *, status: int, headers: Headers | None = None
    ) -> tuple[str, list[str]]:
        """The code of a refusal and the pointers it names."""
        told = await self.call("POST", path, body, status=status, headers=headers)
        return told["code"], [fault["pointer"] for fault in told.get("errors", ())]

    # --- the usual calls ------------------------------------------------------------------

    async def register(self, agent_id: str, *, status: int = 201, **more: Any) -> Any:
        return await self.post(REGISTER, {"agent_id": agent_id, **more}, status=status)

    async def send(self, sender: str, to: str, text: str = "hello", **more: Any) -> Any:
        """The answer to an accepted message."""
        headers = {"Idempotency-Key": key} if (key := more.pop("key", None)) else None
        body = {"from": sender, "to": to, "text": text, **more}
        return await self.post(MESSAGES, body, status=202, headers=headers)

    async def look(self, agent_id: str, **query: Any) -> Any:
        return await self.get(MESSAGES, agent_id=agent_id, **query)

    async def states(self, agent_id: str) -> list[str]:
        """Those of all that is owed, oldest first."""
        return [message["state"] for message in (await self.look(agent_id))["messages"]]

    async def receive(self, agent_id: str, **more: Any) -> Any:
        return await self.post(RECEIVE, {"agent_id": agent_id, **more})

    async def ack(self, agent_id: str, **more: Any) -> Any:
        return await self.post(ACK, {"agent_id": agent_id, **more})

    async def standing(self, agent_id: str, message_id: str) -> Any:
        """Where a message stands, by recipient."""
        told = await self.get(f"{MESSAGES}/{message_id}", agent_id=agent_id)
        return {one["agent_id"]: one["state"] for one in told["recipients"]}
