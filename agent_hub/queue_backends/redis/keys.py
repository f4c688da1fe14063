"""How keys are named: all that belongs together in one slot of a cluster."""

from __future__ import annotations

from functools import lru_cache

HUB = "hub"
"""The slot of what belongs to no inbox; no agent can be called so."""


LAYOUT = b"1"
"""How this hub names and writes its keys. It stands in Redis beside them: what a hub of another
version would read wrongly takes the next number.
"""


class Keys:
    """`<prefix>:{<agent>}:<name>`: the braces hold what a cluster chooses the slot by."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self.of = lru_cache(maxsize=8_192)(self._of)

    def __call__(self, agent_id: str, name: str) -> str:
        return f"{self._prefix}:{{{agent_id}}}:{name}"

    def _of(self, agent_id: str, names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(self(agent_id, name) for name in names)

    def hub(self, name: str) -> str:
        return self(HUB, name)

    def agent_of(self, channel: str) -> str:
        """Whose inbox a channel belongs to."""
        return channel[len(self._prefix) + 2 : channel.rindex("}")]

    def sent(self, sender: str, message_id: str) -> str:
        """Where a sender's message went."""
        return self(sender, f"to:{message_id}")

    def copies(self, sender: str, message_id: str) -> str:
        """Where the copies of a sender's broadcast went."""
        return self(sender, f"all:{message_id}")

    def claim(self, recipient: str, sender: str, key: str) -> str:
        """What an idempotency key stands for, beside the recipient's inbox."""
        return self(recipient, f"key:{sender}:{key}")

    def abandoned(self, recipient: str, sender: str, fingerprint: bytes) -> str:
        """The question that its asker went away from."""
        return self(recipient, f"again:{sender}:{fingerprint.hex()}")
