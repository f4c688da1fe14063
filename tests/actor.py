"""A command that does what a test tells it: `python tests/actor.py PORT [NAME]`; see stage.py.

NAME `stubborn` makes it go on when it is told to end, and say so.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys

PORT, *NAME = sys.argv[1:]

with socket.create_connection(("127.0.0.1", int(PORT))) as connection:

    def say(what: object) -> None:
        connection.sendall(f"{json.dumps(what)}\n".encode())

    if NAME == ["stubborn"]:
        signal.signal(signal.SIGTERM, lambda number, _: say(number))
    say({"name": NAME, "given": sys.stdin.read(), "variables": dict(os.environ)})
    said, code = json.loads(connection.makefile().readline())
    sys.stdout.write(said)
sys.exit(code)
