"""What ended without an ack, and the notices that tell its senders."""

from __future__ import annotations

import base64
import hashlib
import logging
from collections import defaultdict
from collections.abc import Sequence
from typing import TypeAlias

from redis.exceptions import ResponseError

from agent_hub.core.errors import BackendUnavailable
from agent_hub.core.mail import Undelivered
from agent_hub.core.notice import Notice
from agent_hub.queue_backends.redis.codec import ENCODER, Pending, decode_pending, ending_of
from agent_hub.queue_backends.redis.store import Store
from agent_hub.redis_way.damage import Damage

log = logging.getLogger(__name__)

Placed: TypeAlias = tuple[float, int, Undelivered]
"""An ending, after when it was and in which place in its inbox."""

INBOXES_AT_ONCE = 200


class Endings:
    """Endings stand with the recipient, notices with the sender: a step each.

    That an ending is in a notice is written together with the notice, and forgotten some time
    after the ending: whatever is cut off in between, or done by two nodes, counts once.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._keys = store.keys
        self._index = store.keys.hub("endings")
        self._unread = Damage("what ended in the inbox of %s cannot be read")
        self._untold = Damage("no notice can be written to %s")

    async def oldest(self, limit: int) -> list[Undelivered]:
        names = await self._recipients()
        endings: list[Placed] = []
        for at in range(0, len(names), INBOXES_AT_ONCE):
            if len(endings) >= limit:
                break  # those of the others have their turn when these are told
            some = names[at : at + INBOXES_AT_ONCE]
            for _, placed in await self._unread.ask_each(some, self._of):
                endings += placed
        endings.sort(key=lambda one: one[:2])
        return [undelivered for _, _, undelivered in endings[:limit]]

    async def _recipients(self) -> list[str]:
        """Those in whose inboxes something ended, by the index."""
        try:
            (names,) = await self._store.ask((("SMEMBERS", self._index),))
        except ResponseError as error:
            # It holds nothing that the next round of the sweep would not enter again.
            log.error("%s holds something else, and is made anew", self._index, exc_info=error)
            await self._store.ask((("UNLINK", self._index),))
            return []
        return [name.decode() for name in names]

    async def _of(self, recipient: str) -> list[Placed]:
        try:
            (fields,) = await self._store.ask((("HGETALL", self._keys(recipient, "ended")),))
        except BackendUnavailable:  # on a node of a cluster that is gone; others' are told now
            return []
        return [
            ending_of(fields[place + 1], fields[place].decode(), recipient)
            for place in range(0, len(fields), 2)
        ]

    async def notice(self, ended: Undelivered) -> bool:
        """A sender whose inbox is damaged gets none, as if it were told: others wait behind it."""
        told = await self._untold.ask_each((ended.sender,), lambda _: self._notice(ended))
        return any(is_new for _, is_new in told)

    async def _notice(self, ended: Undelivered) -> bool:
        known, expected = await self._store.ask(
            (
                ("HEXISTS", self._keys(ended.recipient, "ended"), ended.message_id),
                ("HGET", self._keys(ended.sender, "notices"), ended.recipient),
            )
        )
        if not known:
            return False
        while True:  # until nobody else has written in between
            answer = await self._tell(ended, expected or b"")
            if answer[0] != b"changed":
                return bool(answer[0] == b"new")
            expected = answer[1]

    async def _tell(self, ended: Undelivered, expected: bytes) -> list[bytes]:
        if expected:
            pending = decode_pending(expected)
        else:
            pending = Pending(_notice_id(ended), Notice.about(ended.recipient))
        grown = pending.notice.add(ended, self._store.limits.ids_per_notice)
        ttl = self._store.limits.notice_ttl
        # Its seq and its time are the script's to know.
        message = pending.notice.message(pending.message_id, 0, ended.sender, 0.0, ttl)
        return await self._store.call_made(
            "notice",
            ended.sender,
            _name(ended),
            ended.recipient,
            expected,
            ENCODER.encode(pending),
            pending.message_id,
            ENCODER.encode(message) if grown else b"",
            message.size,
        )

    async def noted(self, ended: Sequence[Undelivered]) -> None:
        of_recipients, of_senders = defaultdict(list), defaultdict(list)
        for one in ended:
            of_recipients[one.recipient].append(one.message_id)
            of_senders[one.sender].append(_name(one))
        for recipient, message_ids in of_recipients.items():
            await self._forget(recipient, message_ids)
        await self._untold.ask_each(
            of_senders,
            lambda sender: self._store.call("noted", sender, ENCODER.encode(of_senders[sender])),
        )

    async def _forget(self, recipient: str, message_ids: list[str]) -> None:
        """Out of the index first: an ending that comes meanwhile enters it again."""
        ended = self._keys(recipient, "ended")
        *_, left = await self._store.ask(
            (("SREM", self._index, recipient), ("HDEL", ended, *message_ids), ("HLEN", ended))
        )
        if left:
            await self._store.ask((("SADD", self._index, recipient),))


def _name(ended: Undelivered) -> str:
    return f"{ended.recipient} {ended.message_id}"


def _notice_id(ended: Undelivered) -> str:
    """Made from the ending: told twice, it is the same notice."""
    digest = hashlib.sha256(f"{ended.sender} {_name(ended)} {ended.state}".encode()).digest()
    return "m_" + base64.urlsafe_b64encode(digest[:16])[:22].decode()
