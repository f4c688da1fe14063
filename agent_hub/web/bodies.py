"""Reading a request: its body within bounds, its query as typed values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import msgspec
from aiohttp import hdrs, web

from agent_hub.core.clock import Clock
from agent_hub.core.deadline import within
from agent_hub.core.errors import BodyTooLarge, Invalid, SlowBody, UnsupportedMediaType
from agent_hub.wire import strict_json

MAX_BODY_BYTES = 1024 * 1024
BODY_SECONDS = 15.0

_T = TypeVar("_T", bound=msgspec.Struct)


class Bodies:
    """Reads the JSON bodies of requests, on the hub's clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def json(self, request: web.Request, decoder: msgspec.json.Decoder[_T]) -> _T:
        """The body as a type, at most MAX_BODY_BYTES within BODY_SECONDS; empty reads as `{}`.

        Raises MalformedJson, Invalid, BodyTooLarge, SlowBody, UnsupportedMediaType.
        """
        return strict_json.decode(await self.read(request) or b"{}", decoder)

    async def read(self, request: web.Request) -> bytes:
        """The body as it came. Raises BodyTooLarge, SlowBody, UnsupportedMediaType."""
        if hdrs.CONTENT_ENCODING in request.headers:
            raise UnsupportedMediaType("the body must not be compressed")
        content = request.content
        # What came with the head, as short bodies do, is there at once.
        body = content.read_nowait() if content.is_eof() else await self._read_slowly(request)
        if len(body) > MAX_BODY_BYTES:
            raise _too_large()
        return body

    async def _read_slowly(self, request: web.Request) -> bytes:
        if (request.content_length or 0) > MAX_BODY_BYTES:
            raise _too_large()
        body = bytearray()
        try:
            async with within(self._clock, BODY_SECONDS):
                while len(body) <= MAX_BODY_BYTES and (chunk := await request.content.readany()):
                    body += chunk
        except TimeoutError:
            raise SlowBody(f"the body did not arrive within {BODY_SECONDS:.0f} s") from None
        return bytes(body)


def _too_large() -> BodyTooLarge:
    return BodyTooLarge(f"at most {MAX_BODY_BYTES} bytes are taken")


def query(request: web.Request, shape: type[_T]) -> _T:
    """The query as a type. Raises Invalid naming the parameter."""
    return convert_query(request.query, shape)


def convert_query(given: Mapping[str, str], shape: type[_T]) -> _T:
    """Text values as a type: each may stand once, and no other may stand there."""
    # a multi-dict's keys tell each name once
    twice = strict_json.first_twice(name for name, _ in given.items())
    if twice is not None:
        raise Invalid.at(f"?{twice}", "given twice")
    try:
        return msgspec.convert(dict(given), shape, strict=False)
    except msgspec.ValidationError as error:
        fault = strict_json.fault_of(str(error), shape)
        raise Invalid.at("?" + fault.pointer.lstrip("/"), fault.detail) from None
