"""Run the clients: `python -m tests.mcp.clients [--cache DIRECTORY]`, some seconds each.

Each connects, lists the tools, sends, reads, asks, and reads resources. Then the hub is restarted
in between two of its calls, and it goes on.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from tests.mcp.registries import CACHE, HUB, fetch_modules, fetch_node, fetch_python, serving
from tests.ports import free_port

HERE = Path(__file__).parent
# The older ones do not say so, but they need the pydantic of their time.
PYTHON = {
    "1.9.4": ("session_1.py", "pydantic==2.11.*"),
    "1.12.4": ("session_1.py", "pydantic==2.11.*"),
    "1.30.0": ("session_1.py",),
    "2.3.0": ("session_2.py",),
}
TYPESCRIPT = {"1": "@modelcontextprotocol/sdk@1.32.2", "2": "@modelcontextprotocol/client@2.4.0"}
INSPECTOR = "@modelcontextprotocol/inspector@2.12.0"
SECONDS = 60.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, default=CACHE)
    cache: Path = parser.parse_args().cache.resolve()
    results = [
        *(python(cache, version) for version in PYTHON),
        *(typescript(cache, version) for version in TYPESCRIPT),
        inspector(cache),
    ]
    return 0 if all(results) else 1


def python(cache: Path, version: str) -> bool:
    script, *more = PYTHON[version]
    interpreter = fetch_python(cache, f"mcp=={version}", *more)
    return converse(f"Python SDK {version}", [str(interpreter), str(HERE / script)])


def typescript(cache: Path, version: str) -> bool:
    modules = fetch_modules(cache, TYPESCRIPT[version])
    # Node looks for modules beside the script.
    script = shutil.copy(HERE / "session.mjs", modules.parent)
    command = [str(fetch_node(cache)), str(script)]
    return converse(f"TypeScript {TYPESCRIPT[version]}", command, version)


def converse(name: str, command: list[str], *more: str) -> bool:
    """Run one client, with a restart of the hub in between; whether all went well."""
    port = free_port()
    with serving(HUB, port) as url:
        process = subprocess.Popen(
            [*command, url, *more],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert process.stdout is not None
        first = process.stdout.readline()
    with serving(HUB, port):
        rest, _ = process.communicate("\n", timeout=SECONDS)
    is_well = (first, rest) == ("ready\n", "done\n")
    print(f"{name}: {'all calls, and after a restart of the hub' if is_well else first + rest}")
    return is_well


def inspector(cache: Path) -> bool:
    command = [
        str(fetch_node(cache)),
        str(fetch_modules(cache, INSPECTOR) / ".bin/mcp-inspector"),
        "--cli",
    ]
    call = ["--method", "tools/call", "--tool-name", "get_messages", "--tool-arg", "client_id=beta"]
    with serving(HUB, free_port()) as url:
        ended = subprocess.run(
            [*command, url, "--transport", "http", *call],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    is_well = ended.returncode == 0 and "No messages." in ended.stdout
    print(f"inspector --cli: {'a call' if is_well else ended.stdout + ended.stderr}")
    return is_well


if __name__ == "__main__":
    sys.exit(main())
