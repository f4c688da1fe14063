"""The answers of one turn of the event loop, written together at its end.

A write wakes up whoever reads it. When many connections have a request at the same time, writes
among the work for the others cost far more than one after the other (docs/decisions/0018).
"""

from __future__ import annotations

import asyncio

from aiohttp import web

from agent_hub.web.reply import Reply


class Outgoing:
    """Whole replies on their way out."""

    def __init__(self) -> None:
        self._waiting: list[tuple[asyncio.Transport, bytes]] = []

    def take(self, request: web.Request, reply: Reply) -> None:
        """Take this reply, or leave it to `prepare`, which writes at once.

        Left is what has to wait for its reader, or what something else on the same connection
        could overtake: its end, or the answer to a request that stands in line already.
        """
        connection = request.protocol
        transport = connection.transport
        if (
            transport is None
            or transport.is_closing()
            or connection.writing_paused
            or connection._messages
            or connection._upgraded
            or connection._close
            or not request.content.is_eof()
            or not reply.keeps_alive(request)
        ):
            return
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._write)
        self._waiting.append((transport, reply.whole(request)))

    def _write(self) -> None:
        waiting, self._waiting = self._waiting, []
        for transport, whole in waiting:
            if not transport.is_closing():  # uvloop lets nobody touch a closed one
                transport.write(whole)
