"""What the model lets happen only once it is written: see `journal.Change`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from agent_hub.core.agent import Agent
from agent_hub.core.errors import AgentTaken
from agent_hub.core.mail import Receipt, Submission, Undelivered
from agent_hub.core.message import Message
from agent_hub.core.notice import Notice
from agent_hub.queue_backends.facts import Accepted, Deregistered, Fact, Registered, Told
from agent_hub.queue_backends.inbox import Inbox
from agent_hub.queue_backends.journal import Change

Underway = dict[tuple[str, ...], "Accepting"]
"""The sends that are being written, by all that they can be sent again by."""


class Accepting(Change[Receipt]):
    """A message on its way into an inbox. Raises what `Inbox.reserve` does when it is made."""

    def __init__(
        self,
        inbox: Inbox,
        submission: Submission,
        now: float,
        underway: Underway,
        accepted: Callable[[Submission, Inbox, Message], Receipt],
    ) -> None:
        self._victims = inbox.reserve(submission)
        self._inbox = inbox
        self._submission = submission
        self._now = now
        self._underway = underway
        self._accepted = accepted
        self._over: asyncio.Event | None = None
        self._names = names(submission)
        for name in self._names:
            underway[name] = self

    def number(self) -> Sequence[Fact]:
        submission = self._submission
        self._message = self._inbox.number(submission, self._now)
        key, asking = submission.draft.idempotency_key, submission.asking_since is not None
        counted = submission.via, submission.kind
        return (Accepted(self._message, key, submission.fingerprint, asking, *counted),)

    def publish(self) -> Receipt:
        self._end()
        self._inbox.publish(self._message, self._submission, self._victims, self._now)
        return self._accepted(self._submission, self._inbox, self._message)

    def withdraw(self) -> None:
        self._end()
        self._inbox.withdraw(self._message, self._victims)

    def _end(self) -> None:
        for name in self._names:
            del self._underway[name]
        if self._over is not None:
            self._over.set()

    async def over(self) -> None:
        """Wait until it is published or withdrawn."""
        if self._over is None:
            self._over = asyncio.Event()
        await self._over.wait()


def names(submission: Submission) -> list[tuple[str, ...]]:
    """What makes another submission the same: its id, or its key."""
    draft, to = submission.draft, submission.recipient
    if draft.idempotency_key is None or submission.broadcast:
        return [(submission.message_id, to)]
    return [(submission.message_id, to), (draft.sender, to, draft.idempotency_key)]


class Posting(Change[bool]):
    """A notice on its way into the inbox of the sender that it tells of an ending."""

    def __init__(
        self,
        inbox: Inbox,
        notice: Notice,
        ended: Undelivered,
        now: float,
        told: Callable[[Undelivered, Inbox, Message], None],
    ) -> None:
        self._inbox = inbox
        self._notice = notice
        self._ended = ended
        self._now = now
        self._told = told

    def number(self) -> Sequence[Fact]:
        self._message = self._inbox.number_notice(self._notice, self._now)
        told = Told(self._ended.message_id, self._ended.recipient)
        return Accepted(self._message, None, b"", False, "hub", "notice"), told

    def publish(self) -> bool:
        self._inbox.publish_notice(self._message, self._notice)
        self._told(self._ended, self._inbox, self._message)
        return True

    def withdraw(self) -> None:
        self._inbox.withdraw(self._message, ())


class OfTheRegister(Change[bool]):
    """A change of one agent's registration. `underway` are those that are being written."""

    def __init__(self, agent: Agent, underway: dict[str, list[Agent]]) -> None:
        self._agent = agent
        self._underway = underway
        underway.setdefault(agent.agent_id, []).append(agent)

    def withdraw(self) -> None:
        left = self._underway[self._agent.agent_id]
        left.remove(self._agent)
        if not left:
            del self._underway[self._agent.agent_id]


class Registering(OfTheRegister):
    """A registration. True when it is a new one. Raises AgentTaken when it is made.

    `known` is the registration that it replaces.
    """

    def __init__(
        self,
        agent: Agent,
        known: Agent | None,
        underway: dict[str, list[Agent]],
        register: Callable[[Agent], bool],
    ) -> None:
        before = underway.get(agent.agent_id, [])
        owners = {one.owner for one in (known, *before) if one is not None and one.owner}
        if agent.owner is None:
            agent.owner = next(iter(owners), None)
        elif owners - {agent.owner}:
            raise AgentTaken(f"{agent.agent_id!r} belongs to another principal")
        super().__init__(agent, underway)
        self._register = register

    def number(self) -> Sequence[Fact]:
        return (Registered(self._agent),)

    def publish(self) -> bool:
        self.withdraw()
        return self._register(self._agent)


class Deregistering(OfTheRegister):
    """The end of a registration. True when there was one."""

    def __init__(
        self, agent: Agent, underway: dict[str, list[Agent]], deregister: Callable[[str], bool]
    ) -> None:
        super().__init__(agent, underway)
        self._deregister = deregister

    def number(self) -> Sequence[Fact]:
        return (Deregistered(self._agent.agent_id),)

    def publish(self) -> bool:
        self.withdraw()
        return self._deregister(self._agent.agent_id)
