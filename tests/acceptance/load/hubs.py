"""The hubs as a client with several addresses sees them: when one fails, the next is tried."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from aiohttp import ClientError, ClientSession

from tests.acceptance.load.records import Recorder

PAUSE_SECONDS = 0.1
"""Before another try: a hub that is away is not to be asked a thousand times a second."""


class Answer(NamedTuple):
    status: int
    body: Any


class Hubs:
    """Some addresses of hubs that share their messages, and the one in use.

    `first` spreads clients over them.
    """

    def __init__(
        self, session: ClientSession, urls: Sequence[str], recorder: Recorder, first: int = 0
    ) -> None:
        self.session = session
        self._urls = urls
        self._recorder = recorder
        self._turn = first

    @property
    def url(self) -> str:
        return self._urls[self._turn % len(self._urls)]

    async def call(self, method: str, path: str, **request: Any) -> Answer:
        """Ask until somebody answers with 200 or 202; each refusal is written down."""
        while True:
            began = time.time()
            try:
                async with self.session.request(method, self.url + path, **request) as response:
                    answer = Answer(response.status, await response.json())
            except (ClientError, OSError, TimeoutError) as error:
                code = type(error).__name__
            else:
                if answer.status in (200, 202):
                    return answer
                code = answer.body["code"]
                if not answer.body["retryable"]:
                    raise RuntimeError(f"{method} {path}: {answer.body}")
            await self.failed(code, began)

    async def failed(self, code: str, began: float) -> None:
        """Write it down, and turn to the next hub. `began` is when the try did."""
        self._recorder.write("refused", code=code, seconds=time.time() - began)
        self._turn += 1
        await asyncio.sleep(PAUSE_SECONDS)
