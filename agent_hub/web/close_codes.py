"""Why a WebSocket was closed. From 4500 on, a client must not reconnect by itself."""

from __future__ import annotations

from enum import IntEnum


class CloseCode(IntEnum):
    NORMAL = 1000
    GOING_AWAY = 1001
    NO_WEBSOCKET = 1002  # by aiohttp, for what breaks the protocol itself
    BINARY = 1003
    CUT = 1006  # never sent: how an end without a close frame is counted
    NOT_UTF8 = 1007
    TOO_BIG = 1009
    INTERNAL = 1011
    TOO_SLOW = 4008
    EPOCH_CHANGED = 4010
    SILENT = 4012
    RATE = 4013
    BAD_CREDENTIAL = 4500
    BAD_FRAME = 4501
    NO_CREDENTIAL = 4502
    REPLACED = 4503
    TOO_MANY = 4504
    TOO_MANY_ERRORS = 4509
