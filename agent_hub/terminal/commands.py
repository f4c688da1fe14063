"""`agent-hub listen`, `send`, `ask`, `receive`, `work`, `agents`: an agent's side, for shells."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

from agent_hub.client import AgentClient, Delivery, HubError, Pace
from agent_hub.client.credential import Credential
from agent_hub.console import FAILED, PROGRAM, USAGE_ERROR, say
from agent_hub.terminal import shown
from agent_hub.terminal.output import Reader, write, written

ENDINGS = {"replied": 0, "pending": 3, "crossed": 4}
"""The exit code for each way in which a question can end."""

Flags = Mapping[str, Any]


def run(flags: Flags) -> int:
    """Do what the command line says; the exit code."""
    _log_to_stderr()
    if sys.stdout is None:  # closed by the caller: nothing is taken or sent that cannot be told
        return say("cannot write: standard output is closed", FAILED)
    try:
        return asyncio.run(_act(flags))
    except HubError as error:
        return say(shown.refusal(error), FAILED)
    except UnicodeEncodeError:  # an argument of other bytes, or half of a pair in a payload
        return say("what is to be sent is no text in UTF-8", USAGE_ERROR)
    except ValueError as error:
        return say(shown.one_line(str(error)), USAGE_ERROR)
    except OSError as error:
        return say(f"cannot write: {error.strerror}", FAILED)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except asyncio.CancelledError:
        return 128 + signal.SIGTERM


async def _act(flags: Flags) -> int:
    task = asyncio.current_task()
    assert task is not None
    with suppress(NotImplementedError):  # Windows has no handlers in the loop
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await _ACTIONS[flags["command"]](flags)


# A script would rather know than wait long for a hub that is not there.
_SCRIPT = Pace(tries=3)
# A worker has time: up to a minute for each call.
_WORKER = Pace(tries=20)


def _client(flags: Flags, agent_id: str, pace: Pace = _SCRIPT) -> AgentClient:
    return AgentClient(flags["url"], agent_id=agent_id, token=_token(), pace=pace)


def _token() -> str | None:
    """Raises ValueError for what cannot be one."""
    token = os.environ.get("AGENT_HUB_TOKEN") or None
    try:
        Credential(token)
    except ValueError as error:
        raise ValueError(f"AGENT_HUB_TOKEN: {error}") from error
    return token


# --- reading --------------------------------------------------------------------------------


async def _listen(flags: Flags) -> int:
    """Until told to stop, or until nobody reads what is written."""
    with suppress(asyncio.CancelledError, BrokenPipeError):
        async with _client(flags, flags["agent"]) as agent:
            reader = Reader()
            async for delivery in agent.deliveries():
                await reader.give(_shown(delivery, flags))
                await delivery.ack()
                if reader.gone:
                    break
    return 0


async def _receive(flags: Flags) -> int:
    async with _client(flags, flags["agent"]) as agent:
        owed = await agent.receive(limit=flags["limit"], wait=flags["wait"])
        try:
            while owed:
                await written(_shown(owed[0], flags))
                await owed.pop(0).ack()
        finally:
            for delivery in owed:
                await delivery.release()
    return 0


def _shown(delivery: Delivery, flags: Flags) -> str:
    show = shown.message_as_json if flags["json"] else shown.message
    return show(delivery.message)


async def _work(flags: Flags) -> int:
    command = _command(flags)
    from agent_hub.terminal.work import Worker  # not on Windows

    async with _client(flags, flags["agent"], _WORKER) as agent:
        ways = {name: flags[name] for name in ("jobs", "json", "replies")}
        try:
            await Worker(agent, command, _WORKER, **ways).run()
        except OSError as error:
            return say(shown.one_line(f"cannot start {command[0]}: {error.strerror}"), FAILED)
    return 0


def _command(flags: Flags) -> list[str]:
    """Raises ValueError for what cannot be started here."""
    command: list[str] = flags["program"]
    if not command:
        raise ValueError("a COMMAND is required: agent-hub work AGENT -- COMMAND [ARG ...]")
    if sys.platform == "win32":
        raise ValueError("work needs the process groups of a POSIX system")
    if shutil.which(command[0]) is None:
        raise ValueError(f"COMMAND cannot be started: no program {command[0]!r}")
    return command


async def _agents(flags: Flags) -> int:
    # Whoever looks need not be one: this id is in no request.
    async with _client(flags, "onlooker") as agent:
        found = await agent.agents()
    for line in map(shown.as_json, found) if flags["json"] else shown.agents(found):
        write(line)
    return 0


# --- sending --------------------------------------------------------------------------------


async def _send(flags: Flags) -> int:
    async with _client(flags, flags["sender"]) as agent:
        accepted = await agent.send_message(flags["to"], _content(flags), **_about(flags))
    write(shown.as_json(accepted) if flags["json"] else accepted.message_id)
    for doubt in shown.doubts(accepted, flags["to"]):
        say(doubt, 0)
    return 0


async def _ask(flags: Flags) -> int:
    to, seconds = flags["to"], flags["timeout"]
    async with _client(flags, flags["sender"]) as agent:
        answer = await agent.ask(to, _content(flags), seconds, **_about(flags))
    said = answer.reply or answer.question
    if flags["json"]:
        write(shown.answer_as_json(answer))
    elif said is not None:
        write(shown.content(said))
    if answer.status == "pending":
        say(f"no reply to {answer.message_id} yet; a later one will be ordinary mail", 0)
    if answer.question is not None:
        say(f"{to} asks back, in {answer.question.id}; its reply will be ordinary mail", 0)
    return ENDINGS[answer.status]


def _content(flags: Flags) -> str | dict[str, Any]:
    """Raises ValueError for what cannot be sent."""
    text = _stdin() if flags["text"] == "-" else flags["text"]
    return _object(text) if flags["payload"] else text


def _stdin() -> str:
    """All of it, without the end of its last line."""
    if sys.stdin is None:
        raise ValueError("stdin is closed")
    try:
        return sys.stdin.buffer.read().decode().removesuffix("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"stdin is no text in UTF-8: {error}") from error


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ValueError(f"the payload is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise ValueError("the payload must be a JSON object")
    return value


def _about(flags: Flags) -> dict[str, Any]:
    about = {name: flags[name] for name in ("type", "reply_to", "ttl")}
    return {**about, "idempotency_key": flags["key"]}


_ACTIONS: dict[str, Callable[[Flags], Awaitable[int]]] = {
    "listen": _listen,
    "send": _send,
    "ask": _ask,
    "receive": _receive,
    "work": _work,
    "agents": _agents,
}


# --- what is logged -------------------------------------------------------------------------


class _OneLine(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return f"{PROGRAM}: {shown.one_line(super().format(record))}"


def _log_to_stderr() -> None:
    """The client's log says when there is no connection, that of `work` what went wrong."""
    handler = logging.StreamHandler()
    handler.setFormatter(_OneLine())
    for name in ("agent_hub.client", "agent_hub.terminal"):
        logger = logging.getLogger(name)
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
