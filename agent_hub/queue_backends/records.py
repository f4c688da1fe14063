"""One record of the journal: facts that were written together, behind a checksum.

SQLite has none over its pages: a flipped bit in a message would be delivered as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from zlib import crc32

import msgspec
from msgspec import Struct

from agent_hub.queue_backends.facts import Fact

CHECKSUM_BYTES = 4


class Damaged(Exception):
    """What was read is not what was written."""


class Sums(Struct, array_like=True, gc=False, frozen=True):
    """All messages so far, by how they ended; the accepted also by via and kind, the acked by mode.

    Journals from before those two were written have none: that is what the defaults are for.
    """

    accepted: int = 0
    acked: int = 0
    expired: int = 0
    dead: int = 0
    dropped: int = 0
    accepted_by: tuple[tuple[str, str, int], ...] = ()
    acked_by: tuple[tuple[str, int], ...] = ()


class Record(Struct, array_like=True):
    """`sums` stand after all of the facts."""

    sums: Sums
    facts: Sequence[Fact]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Record)


def encode(number: int, record: Record) -> bytes:
    body = _encoder.encode(record)
    return _checksum(number, body) + body


def decode(number: int, written: bytes) -> Record:
    """Raises Damaged."""
    checksum, body = written[:CHECKSUM_BYTES], written[CHECKSUM_BYTES:]
    if checksum != _checksum(number, body):
        raise Damaged(f"record {number} does not match its checksum")
    try:
        return _decoder.decode(body)
    except msgspec.MsgspecError as error:
        raise Damaged(f"record {number} cannot be read: {error}") from error


def _checksum(number: int, body: bytes) -> bytes:
    """Over the number too: a record in another's place is damaged."""
    return crc32(body, crc32(number.to_bytes(8, "big"))).to_bytes(CHECKSUM_BYTES, "big")
