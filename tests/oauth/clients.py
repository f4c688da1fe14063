"""Sign real clients in: `python -m tests.oauth.clients [--cache DIRECTORY]`, a minute.

They come from their registries and find the hub's page by themselves, from its address alone. A
person agrees there, and each client then uses what it was given.
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import NamedTuple

from tests.mcp.conformance.authorization import login_code
from tests.mcp.registries import CACHE, HUB, fetch_modules, fetch_node, serving
from tests.oauth.person import Person
from tests.ports import free_port

FLAGS = ("--auth", "oauth", "--oauth-dynamic-registration", "--no-oauth-client-documents")
LINK = re.compile(r"https?://[^\s\x1b\x07]+/authorize\?[^\s\x1b\x07]+")
SECONDS = 60.0
WIDTH = 4_000
"""Columns of the terminal that they write to: a link must not be cut."""

Command = list[str]


class Tried(NamedTuple):
    """`add` makes the server known, `sign_in` shows the link, `use` proves what came of it."""

    package: str
    program: str
    add: Callable[[str], Command] | None
    sign_in: Callable[[str], Command]
    signed_in: str
    use: Command | None = None
    works: str = ""


CLIENTS = (
    Tried(
        "@anthropic-ai/claude-code@2.1.328",
        ".bin/claude",
        lambda url: ["mcp", "add", "--transport", "http", "hub", url],
        lambda url: ["mcp", "login", "hub"],
        "Authenticated with",
        ["mcp", "list"],
        "Connected",
    ),
    Tried(
        "@openai/codex@0.169.0",
        ".bin/codex",
        None,
        lambda url: ["mcp", "add", "hub", "--url", url],  # which signs in at once
        "Successfully logged in",
    ),
    Tried(
        "@modelcontextprotocol/inspector@2.12.0",
        ".bin/mcp-inspector",
        None,
        lambda url: ["--cli", url, "--method", "tools/call", "--tool-name", "get_my_identity"],
        "person:owner",
    ),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, default=CACHE)
    cache: Path = parser.parse_args().cache.resolve()
    results = [is_signed_in(tried, cache) for tried in CLIENTS]
    return 0 if all(results) else 1


def is_signed_in(tried: Tried, cache: Path) -> bool:
    """Whether one client got as far as using its token."""
    program = str(fetch_modules(cache, tried.package) / tried.program)
    node = fetch_node(cache)
    with TemporaryDirectory() as home:
        environment = {
            **os.environ,
            "HOME": home,
            "PATH": f"{node.parent}{os.pathsep}{os.environ['PATH']}",
            "BROWSER": "true",
            "TERM": "dumb",
        }
        backend = f"sqlite:///{home}/hub.db"
        with serving((*HUB, *FLAGS, "--backend", backend), free_port()) as url:
            if tried.add is not None:
                _run([program, *tried.add(url)], home, environment)
            said = _sign_in([program, *tried.sign_in(url)], home, environment, backend, tried)
            used = "" if tried.use is None else _run([program, *tried.use], home, environment)
    is_well = tried.signed_in in said and tried.works in used
    print(f"{tried.package}: {'signed in' if is_well else said + used}")
    return is_well


def _run(command: Command, home: str, environment: dict[str, str]) -> str:
    ended = subprocess.run(
        command,
        cwd=home,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    return ended.stdout + ended.stderr


def _sign_in(
    command: Command, home: str, environment: dict[str, str], backend: str, tried: Tried
) -> str:
    """All that the client says, until it says that it is signed in."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, WIDTH, 0, 0))
    process = subprocess.Popen(
        command, cwd=home, env=environment, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    said, has_agreed = "", False
    try:
        for part in _parts(ours):
            said += part
            link = LINK.search(said)
            if link is not None and link.end() < len(said) and not has_agreed:
                has_agreed = True
                asyncio.run(_agree(link.group(), backend))
            if tried.signed_in in said:
                break
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    return said


def _parts(terminal: int) -> Iterator[str]:
    give_up_at = monotonic() + SECONDS
    while monotonic() < give_up_at:
        if select.select([terminal], [], [], 0.5)[0]:
            try:
                yield os.read(terminal, 65_536).decode(errors="replace")
            except OSError:  # the program has ended
                return


async def _agree(link: str, backend: str) -> None:
    """Read the page, agree, and follow its answer to where the client waits."""
    async with Person() as person:
        page = await person.open(link)
        assert page.status == 200, page.text
        response = await person.answer(page, code=login_code(backend))
        await person.open(response.headers["Location"])


if __name__ == "__main__":
    sys.exit(main())
