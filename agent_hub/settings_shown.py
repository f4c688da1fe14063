"""The settings as people read them: what holds and where it comes from, and the table of all."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args, get_origin
from urllib.parse import urlsplit

from msgspec import Struct
from pydantic.fields import FieldInfo

from agent_hub.config import (
    BACKENDS,
    ENV_FILE,
    REDIS_URL,
    Settings,
    flag_name,
    secret_fields,
    variable_names,
    variables_of_environment,
    variables_of_file,
)

DEFAULT = "default"
HIDDEN = "***"
_CREDENTIALS = re.compile(r"(?<=://)[^/?#]*@")


class Shown(Struct):
    """One setting. `source` is the flag or the variable that set it."""

    name: str
    value: Any
    source: str


def shown(settings: Settings, flags: Mapping[str, Any]) -> list[Shown]:
    """All settings, without what is secret in them."""
    return [
        Shown(name, _without_secrets(name, value), source(name, flags))
        for name, value in settings.model_dump().items()
    ]


def source(field: str, flags: Mapping[str, Any]) -> str:
    """The flag or the variable that the value of this field comes from."""
    if field in flags:
        named = flag_name(field)
        value = flags[field]
    else:
        named, value = _variable(field)
    # Plain `redis` leaves it to another variable where that is.
    if field == "backend" and value == "redis":
        also = _set_by(REDIS_URL)
        named += f", {also[0]}" if also else ""
    return named


def _variable(field: str) -> tuple[str, str | None]:
    for name in variable_names(field):
        if found := _set_by(name):
            return found
    return DEFAULT, None


def _set_by(name: str) -> tuple[str, str] | None:
    """A variable as its writer knows it, and its value; None when it says nothing."""
    if value := variables_of_environment().get(name):
        return name, value
    if value := variables_of_file().get(name):
        return f"{name} in {ENV_FILE}", value
    return None


def _without_secrets(field: str, value: Any) -> Any:
    if isinstance(value, str):
        return masked(value, is_secret=field in secret_fields())
    if isinstance(value, tuple):
        return [_without_secrets(field, one) for one in value]
    return value


def masked(value: str, *, is_secret: bool) -> str:
    """A value without its password. What may be a secret and is no known word is hidden whole."""
    if "://" in value:
        return _masked_url(value)
    return HIDDEN if is_secret and value and value not in BACKENDS else value


def _masked_url(url: str) -> str:
    """All that can hold a password is hidden: the part before @, but for a user, and the query."""
    address, mark, _ = url.partition("?")
    user = urlsplit(address).username or ""
    return _CREDENTIALS.sub(f"{user}:{HIDDEN}@", address) + (f"?{HIDDEN}" if mark else "")


def as_text(settings: Sequence[Shown]) -> str:
    """One line for each, in columns."""
    rows = [(flag_name(one.name)[2:], _word(one.value), one.source) for one in settings]
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    return "\n".join(f"{row[0]:<{widths[0]}}  {row[1]:<{widths[1]}}  {row[2]}" for row in rows)


def as_json(settings: Sequence[Shown]) -> str:
    """An object by the names of the settings."""
    told = {one.name: {"value": one.value, "source": one.source} for one in settings}
    return json.dumps(told, indent=2)


def as_markdown() -> str:
    """The reference: every setting there is."""
    lines = ["| flag | variables | default | what it sets |", "|---|---|---|---|"]
    lines += [_row(name, field) for name, field in Settings.model_fields.items()]
    return "\n".join(lines)


def _row(name: str, field: FieldInfo) -> str:
    variables = ", ".join(f"`{variable}`" for variable in variable_names(name))
    default = _word(field.default)
    text = field.description or ""
    if get_origin(field.annotation) is Literal:
        text += ": " + ", ".join(f"`{choice}`" for choice in get_args(field.annotation))
    text = text.replace("|", r"\|")
    return f"| `{flag_name(name)}` | {variables} | {f'`{default}`' if default else ''} | {text} |"


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, list | tuple):
        return ",".join(value)
    return f"{value:g}" if isinstance(value, float) else str(value)
