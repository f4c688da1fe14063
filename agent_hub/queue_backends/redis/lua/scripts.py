"""Scripts in Lua, put together from parts.

A file begins with what it needs: `-- use: part part` are the files that come before it, each
once, and `-- args: name name` are the arguments of a whole script, after the two of the time. In
the text `ARG.name` is an argument, `LIMITS.name` a number that does not change, and `KEY.name` a
key: all keys that a script names are handed to it, so that a cluster knows them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files

from msgspec import Struct

TIME_ARGUMENTS = 2
_PARTS = re.compile(r"^-- use: (.*)$", re.MULTILINE)
_ARGUMENTS = re.compile(r"^-- args:(.*)$", re.MULTILINE)
_NAME = re.compile(r"\b(ARG|KEY|LIMITS)\.(\w+)")


class Script(Struct, frozen=True):
    """A script as Redis takes it. `keys` are the names of its keys, in their order."""

    name: str
    text: str
    keys: tuple[str, ...]
    arguments: int

    @property
    def sha(self) -> str:
        return hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()


@cache
def read_part(name: str) -> str:
    return (files(__package__) / f"{name}.lua").read_text("utf-8")


def names() -> list[str]:
    """All whole scripts: a file that says what arguments it takes, if any, is one."""
    found = (entry.name for entry in files(__package__).iterdir())
    every = sorted(name.removesuffix(".lua") for name in found if name.endswith(".lua"))
    return [name for name in every if _ARGUMENTS.search(read_part(name))]


def load(name: str, limits: Mapping[str, float | bool]) -> Script:
    """Put a script together."""
    text = "\n".join(read_part(part) for part in _in_order(name))
    arguments = _words(_ARGUMENTS, read_part(name))
    keys: dict[str, int] = {}

    def replacement(found: re.Match[str]) -> str:
        kind, word = found.groups()
        if kind == "LIMITS":
            return _literal(limits[word])
        if kind == "ARG":
            return f"ARGV[{TIME_ARGUMENTS + 1 + arguments.index(word)}]"
        return f"KEYS[{keys.setdefault(word, len(keys) + 1)}]"

    return Script(name, _NAME.sub(replacement, text), tuple(keys), len(arguments))


def _in_order(name: str) -> list[str]:
    """A file after all that it needs."""
    return list(dict.fromkeys(_with_needs(name)))


def _with_needs(name: str) -> Iterator[str]:
    for part in _words(_PARTS, read_part(name)):
        yield from _with_needs(part)
    yield name


def _words(line: re.Pattern[str], text: str) -> list[str]:
    found = line.search(text)
    return found.group(1).split() if found else []


def _literal(value: float | bool) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return format(value, ".17g")
