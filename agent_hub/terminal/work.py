"""`agent-hub work`: each message to an agent is a run of a command, whose output is the reply."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from agent_hub.client import AgentClient, Delivery, HubError, Message, Pace, Subscription
from agent_hub.client.pace import Backoff
from agent_hub.core.message import MAX_CONTENT_BYTES
from agent_hub.terminal import shown
from agent_hub.terminal.program import Program

logger = logging.getLogger("agent_hub.terminal")

UNANSWERED = {"response", "ack", "heartbeat"}
"""The types of messages that get no reply: two workers would talk in circles."""
OF_THE_HUB = ("hub.", "agent.")
NO_RIGHT = (401, 403)
TOO_MANY = 429
STOP_SECONDS = 10.0
SHOWN_BYTES = 200
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
NOT_HANDED_ON = {"AGENT_HUB_TOKEN"}
"""Variables that stay here: others' words tell the command what to do, and it may tell it them."""


class Worker:
    """Runs a command for each message to an agent, at most `jobs` at once."""

    def __init__(
        self,
        agent: AgentClient,
        command: Sequence[str],
        pace: Pace,
        *,
        jobs: int = 1,
        json: bool = False,
        replies: bool = True,
    ) -> None:
        self._agent = agent
        self._program = Program(command, MAX_CONTENT_BYTES)
        self._backoff = Backoff(pace)
        self._slots = asyncio.Semaphore(jobs)
        self._json = json
        self._replies = replies
        self._stopping = asyncio.Event()
        self._patience = asyncio.timeout(None)
        self._jobs = asyncio.TaskGroup()

    async def run(self) -> None:
        """Until told to stop. Raises HubError, or OSError when the command cannot be started.

        What is not done at the end goes back as the connection is closed: without a failure.
        """
        deliveries = self._agent.deliveries()
        try:
            with suppress(TimeoutError):
                async with deliveries:
                    await self._work(deliveries)
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None

    async def _work(self, deliveries: Subscription) -> None:
        with _heeding(self._stop):
            async with self._patience, self._jobs:
                self._taking = self._jobs.create_task(self._take(deliveries))

    def _stop(self, number: int) -> None:
        """Take no more, and give what runs this signal and some seconds; again: no seconds."""
        now, again = asyncio.get_running_loop().time(), self._stopping.is_set()
        if not self._patience.expired():
            self._patience.reschedule(now if again else now + STOP_SECONDS)
        if not again:
            self._stopping.set()
            self._taking.cancel()
            self._program.tell(number)

    async def _take(self, deliveries: Subscription) -> None:
        # Not held up by those that run: it is to hear at once when the hub ends the stream.
        async for delivery in deliveries:
            self._jobs.create_task(self._in_turn(delivery))

    async def _in_turn(self, delivery: Delivery) -> None:
        async with self._slots:
            if not self._stopping.is_set():
                await self._handle(delivery)

    async def _handle(self, delivery: Delivery) -> None:
        try:
            await self._serve(delivery.message)
        except _Failed as failure:
            await self._give_back(delivery, failure)
        else:
            self._backoff.reset()
            await delivery.ack()

    async def _give_back(self, delivery: Delivery, failure: _Failed) -> None:
        if self._stopping.is_set():
            return
        message = delivery.message
        logger.warning("%s from %s goes back: %s", message.id, message.sender, failure)
        # Without a pause, a trouble of one second would use up all of a message's failures.
        with suppress(TimeoutError):
            async with asyncio.timeout(self._backoff.next()):
                await self._stopping.wait()
            return
        await delivery.release()

    async def _serve(self, message: Message) -> None:
        """Raises _Failed."""
        if message.type.startswith(OF_THE_HUB):
            logger.warning("%s", shown.message(message))
            return
        answered = self._replies and message.type not in UNANSWERED
        given = _given(message, self._json)
        ended = await self._program.run(given, _variables(message), captured=answered)
        text = _text(ended.code, ended.out)
        if text:
            await self._answer(message, text)

    async def _answer(self, message: Message, text: str) -> None:
        try:
            await self._send(message, text)
        except HubError as error:
            if error.status in NO_RIGHT:
                raise  # every other reply would be refused, too
            if error.code != "idempotency_mismatch":
                raise _Failed(f"the reply was refused: {error}") from error
            # A run before this one replied, and ended before it could acknowledge.
            logger.warning("%s has its reply already; this one is not sent", message.id)

    async def _send(self, message: Message, text: str) -> None:
        """Also when the hub is away for long: the work is done, and should not be done again."""
        while True:
            try:
                await self._agent.send_message(
                    message.sender,
                    text,
                    type="response",
                    reply_to=message.id,
                    idempotency_key=f"work-{message.id}",
                )
            except HubError as error:
                if error.status == TOO_MANY or not error.retryable:
                    raise
                logger.warning("the reply to %s waits for the hub: %s", message.id, error)
            else:
                return


class _Failed(Exception):
    """This message was not served; another time it may be."""


@contextmanager
def _heeding(stop: Callable[[int], object]) -> Iterator[None]:
    """Call `stop` at each signal that would end this process, except those it is to ignore."""
    loop = asyncio.get_running_loop()
    heeded = [one for one in SIGNALS if signal.getsignal(one) is not signal.SIG_IGN]
    for number in heeded:
        loop.add_signal_handler(number, stop, number)
    try:
        yield
    finally:
        for number in heeded:
            loop.remove_signal_handler(number)


def _given(message: Message, as_json: bool) -> bytes:
    if as_json:
        return f"{shown.message_as_json(message)}\n".encode()
    return message.text.encode() if message.text else f"{shown.payload(message)}\n".encode()


def _variables(message: Message) -> Mapping[str, str]:
    """This process' own, with what is to be known of the message, without the hub's credential."""
    told = {
        "MESSAGE_ID": message.id,
        "MESSAGE_FROM": message.sender,
        "MESSAGE_TYPE": message.type,
        "MESSAGE_REPLY_TO": message.reply_to,
        "TRACEPARENT": message.traceparent,
    }
    kept = os.environ.keys() - told.keys() - NOT_HANDED_ON
    return {name: os.environ[name] for name in kept} | {
        name: value for name, value in told.items() if value is not None
    }


def _text(code: int, out: bytes) -> str:
    """What a run said, without the end of its last line. Raises _Failed."""
    if len(out) > MAX_CONTENT_BYTES:
        raise _Failed(f"the command wrote more than {MAX_CONTENT_BYTES} bytes")
    if code:
        how = f"signal {-code}" if code < 0 else f"code {code}"
        raise _Failed(f"the command ended with {how}{_beginning(out)}")
    try:
        return out.decode().removesuffix("\n")
    except UnicodeDecodeError as error:
        raise _Failed(f"the command wrote what is no text in UTF-8: {error}") from error


def _beginning(out: bytes) -> str:
    """Where some programs say what is wrong."""
    said = out[:SHOWN_BYTES].decode(errors="replace").strip()
    return said and f": {said}"
