"""JSON as everybody reads it the same way: what parsers disagree on is refused.

msgspec decodes into types but lets duplicate keys pass (the last one wins, elsewhere the first),
and does not look into values that are only passed on. So the standard library's parser reads the
text first; that costs about 2 µs for a short message.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any, NoReturn, TypeVar

import msgspec

from agent_hub.core.errors import Fault, Invalid, MalformedJson

MAX_DEPTH = 32
MAX_SHOWN = 64
"""So many characters of a name that somebody else chose are repeated to them."""

_T = TypeVar("_T", bound=msgspec.Struct)
_STEP = re.compile(r"\.(?P<name>[^.\[]+)|\[(?P<index>\d*|\.\.\.)\]")
_ESCAPED_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = first_twice(name for name, _ in pairs)
        raise MalformedJson(f"the key {(twice or '')[:MAX_SHOWN]!r} stands twice in one object")
    return found


def first_twice(names: Iterable[str]) -> str | None:
    """The first name that stood before; None when each stands once."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None


def _no_constant(name: str) -> NoReturn:
    raise MalformedJson(f"{name} is not JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise MalformedJson("a number is out of range")
    return number


_parser = json.JSONDecoder(
    object_pairs_hook=_no_duplicates, parse_constant=_no_constant, parse_float=_finite
)


def _parse(text: str) -> Any:
    """One document. `decode` looks for white space around it by two regular expressions, which
    costs as much as a short document itself; there is seldom any.
    """
    if text.startswith("{"):
        value, end = _parser.raw_decode(text)
        if end == len(text):
            return value
    return _parser.decode(text)


def check(body: bytes) -> None:
    """Raise MalformedJson for anything but one strict JSON document."""
    try:
        value = _parse(body.decode())
    except UnicodeDecodeError:
        raise MalformedJson("the text is not UTF-8") from None
    except RecursionError:
        raise MalformedJson(f"nested deeper than {MAX_DEPTH}") from None
    except json.JSONDecodeError as error:
        raise MalformedJson(str(error)) from None
    except ValueError:  # an integer of more digits than Python reads
        raise MalformedJson("a number is out of range") from None
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH and _is_deeper(value, MAX_DEPTH):
        raise MalformedJson(f"nested deeper than {MAX_DEPTH}")
    if b"\\u" in body and _ESCAPED_SURROGATE.search(body) is not None:
        _check_surrogates(value)


def _is_deeper(value: object, depth: int) -> bool:
    """Whether arrays and objects nest deeper; by levels, so that no input overflows a stack."""
    level = [value]
    for _ in range(depth):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
    return any(isinstance(value, dict | list) for value in level)


def _check_surrogates(value: object) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise MalformedJson("half of a surrogate pair stands alone") from None


def decode(body: bytes, decoder: msgspec.json.Decoder[_T]) -> _T:
    """One strict JSON document as a type. Raises MalformedJson, or Invalid naming the field."""
    check(body)
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        fault = fault_of(str(error), decoder.type)
        where = fault.pointer or "the body"
        raise Invalid(f"{where}: {fault.detail}", faults=(fault,)) from None
    except msgspec.DecodeError as error:
        raise MalformedJson(str(error)) from None


def fault_of(complaint: str, expected: type[msgspec.Struct]) -> Fault:
    """msgspec says where in its own path syntax; callers get a JSON Pointer. To who wrote a field
    that `expected` does not have, those that it has are named.

    The complaint repeats the name of an unknown field, whatever that is and however long: so it
    is parted at fixed words, which no name can make slow, and the name is cut.
    """
    said, at, path = complaint.rpartition(" - at `$")
    if not at:
        said, path = complaint, ""
    steps = _STEP.finditer(path.removesuffix("`"))
    pointer = "".join(f"/{step['name'] or step['index']}" for step in steps)
    opening, field, name = said.partition(" field `")
    if field:
        name = _shown(name.removesuffix("`"))
        said = f"{opening}{field}{name}`"
        if name not in _fields(expected):
            said += f"; this takes {', '.join(_fields(expected))}"
        pointer += "/" + name.replace("~", "~0").replace("/", "~1")
    return Fault(pointer, said[:1].lower() + said[1:])


def _fields(struct: type[msgspec.Struct]) -> list[str]:
    return [field.encode_name for field in msgspec.structs.fields(struct)]


def _shown(name: str) -> str:
    return name if len(name) <= MAX_SHOWN else f"{name[:MAX_SHOWN]}…"


def compact(raw: bytes) -> bytes:
    """The same JSON without insignificant white space."""
    return msgspec.json.format(raw, indent=-1)
