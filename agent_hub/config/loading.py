"""The settings of a process, or in one line what is wrong with them."""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dotenv.parser import parse_stream
from pydantic import ValidationError

from agent_hub.config.faults import SettingsError
from agent_hub.config.settings import Settings, secret_fields
from agent_hub.config.variables import (
    ENCODING,
    ENV_FILE,
    FOR_CLIENTS,
    IN_A_FILE,
    OLDER_NAMES,
    PREFIX,
    flag_name,
    variable_name,
    variables,
)


def load(flags: Mapping[str, Any], kind: type[Settings] = Settings) -> Settings:
    """The settings of this process. `flags` holds what the command line named, by field."""
    said = _readable_variables()
    _refuse_unknown(said)
    try:
        return kind(**flags)
    except ValidationError as error:
        raise SettingsError(_one_line(error, flags, said)) from None


def _readable_variables() -> dict[str, str | None]:
    try:
        _refuse_unreadable_lines()
        return variables()
    except UnicodeDecodeError:
        raise SettingsError(f"{ENV_FILE}: not UTF-8 text") from None
    except OSError as error:
        raise SettingsError(f"{ENV_FILE}: {error.strerror}") from None


def _refuse_unreadable_lines() -> None:
    """A line of the hub's that was passed over would leave a default where a setting was meant."""
    path = Path(ENV_FILE)
    if not path.is_file():
        return
    with path.open(encoding=ENCODING) as file:
        for line in parse_stream(file):
            if line.error and PREFIX in line.original.string.upper():
                number = line.original.line
                raise SettingsError(f"{ENV_FILE}: line {number} is not NAME=value, or ends amiss")


def _refuse_unknown(said: Mapping[str, str | None]) -> None:
    known = [field.upper() for field in Settings.model_fields]
    known += [field.upper() + IN_A_FILE for field in secret_fields()] + list(FOR_CLIENTS)
    for name in sorted(said):
        bare = name.removeprefix(PREFIX)
        if bare != name and bare not in known:
            near = difflib.get_close_matches(bare, known, n=1)
            hint = f"; did you mean {PREFIX}{near[0]}?" if near else ""
            raise SettingsError(f"{name}: no such setting{hint}")


def _one_line(
    error: ValidationError, flags: Mapping[str, Any], said: Mapping[str, str | None]
) -> str:
    fault = error.errors(include_url=False, include_input=False)[0]
    field = str(fault["loc"][0] if fault["loc"] else fault["ctx"]["field"])
    text = fault["msg"].removeprefix("Value error, ")
    return f"{_origin(field, flags, said)}: {text[:1].lower()}{text[1:]}"


def _origin(field: str, flags: Mapping[str, Any], said: Mapping[str, str | None]) -> str:
    """The flag or variable that the value of this field came from, as its writer knows it."""
    if field in flags:
        return flag_name(field)
    return next((name for name in variable_names(field) if said.get(name)), flag_name(field))


def variable_names(field: str) -> list[str]:
    """All variables that set a field; the first that is set wins."""
    name = variable_name(field)
    files = [name + IN_A_FILE] if field in secret_fields() else []
    return [name, *files, *(old for old, new in OLDER_NAMES.items() if new == field)]
