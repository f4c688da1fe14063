"""`python -m benchmarks NAME`: run one measurement and print it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from benchmarks import deliver, growth, mcp, memory, nodes, send

BENCHMARKS: dict[str, Callable[[argparse.Namespace], None]] = {
    "send": send.run,
    "growth": growth.run,
    "memory": memory.run,
    "deliver": deliver.run,
    "mcp": mcp.run,
    "nodes": nodes.run,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(dest="name", required=True)
    for name, run in BENCHMARKS.items():
        module = sys.modules[run.__module__]
        command = commands.add_parser(name, help=(module.__doc__ or "").split("\n")[0])
        command.add_argument("--rounds", type=int, default=7, help="default: %(default)s")
        command.add_argument(
            "--seconds", type=float, default=3.0, help="of each round; default: %(default)s"
        )
        command.add_argument("--connections", type=int, default=64, help="default: %(default)s")
        command.add_argument(
            "--backend",
            action="append",
            choices=("memory", "sqlite", "redis"),
            help="of the hub; `send` takes several and measures them side by side",
        )
        command.add_argument(
            "--redis-url", help="of a Redis that may be filled; default: a new one each time"
        )
    asked = parser.parse_args()
    asked.backend = asked.backend or ["memory"]
    BENCHMARKS[asked.name](asked)
    return 0


if __name__ == "__main__":
    sys.exit(main())
