"""A whole HTTP response in one write.

aiohttp's own Response builds a multi-dict of headers, serialises it and writes in two steps;
what the hub answers is a status, JSON and a few headers (docs/decisions/0003).
"""

from __future__ import annotations

from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from time import time

from aiohttp import HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.web_request import BaseRequest

JSON = "application/json"
PROBLEM_JSON = "application/problem+json"
SERVER = "agent-hub"

NO_CONTENT = 204


@lru_cache(maxsize=64)
def _opening(status: int, content_type: str, second: int) -> str:
    """All that the answers of one second have in common."""
    # No content has no length, not even 0 (RFC 9110, 8.6), and no type.
    content = "" if status == NO_CONTENT else f"Content-Type: {content_type}\r\n"
    return (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n{content}"
        f"Server: {SERVER}\r\nDate: {formatdate(second, usegmt=True)}\r\n"
    )


class Reply(web.StreamResponse):
    """Status, body, and what headers were added with `add`. Sent once, by `prepare`.

    It has none of StreamResponse's state, so the parent's constructor is not run.
    """

    def __init__(self, status: int, body: bytes = b"", content_type: str = JSON) -> None:
        self._status = status
        self._reply_body = body
        self._type = content_type
        self._added = ""
        self._is_sent = False

    @property
    def status(self) -> int:
        return self._status

    @property
    def prepared(self) -> bool:
        return self._is_sent

    @property
    def body_length(self) -> int:
        return len(self._reply_body)

    def add(self, name: str, value: str) -> None:
        """Add a header; the hub's own values only, as they are not escaped."""
        self._added += f"{name}: {value}\r\n"

    async def prepare(self, request: BaseRequest) -> AbstractStreamWriter | None:
        """Write everything. Raises ConnectionResetError when the client is gone."""
        if self._is_sent:
            return None
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client is gone")
        transport.write(self.whole(request))
        await request.writer.drain()
        return request.writer

    def keeps_alive(self, request: BaseRequest) -> bool:
        """Whether the connection stays open for the next request."""
        return self._keep_alive is not False and request.keep_alive

    def whole(self, request: BaseRequest) -> bytes:
        """All that is to be written, for the one who writes it now: it counts as sent."""
        self._is_sent = True
        head = self._head(request)
        return head if request.method == "HEAD" else head + self._reply_body

    def _head(self, request: BaseRequest) -> bytes:
        self._keep_alive = self.keeps_alive(request)
        if not self._keep_alive:
            self._added += "Connection: close\r\n"
        elif request.version < HttpVersion11:
            self._added += "Connection: keep-alive\r\n"
        length = (
            "" if self._status == NO_CONTENT else f"Content-Length: {len(self._reply_body)}\r\n"
        )
        opening = _opening(self._status, self._type, int(time()))
        return f"{opening}{length}{self._added}\r\n".encode()

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing is left to write."""
