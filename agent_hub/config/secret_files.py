"""Secrets that stand in files: a variable says which."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from agent_hub.config.faults import SettingsError
from agent_hub.config.variables import IN_A_FILE, variable_name


def from_files(fields: Iterable[str], variables: Mapping[str, str | None]) -> dict[str, str]:
    """What these fields are set to by a file. Raises SettingsError."""
    named = {field: variable_name(field) + IN_A_FILE for field in fields}
    return {
        field: _secret(name, Path(path), variables)
        for field, name in named.items()
        if (path := variables.get(name))
    }


def _secret(name: str, path: Path, variables: Mapping[str, str | None]) -> str:
    plain = name.removesuffix(IN_A_FILE)
    if variables.get(plain):
        raise SettingsError(f"{name}: {plain} is set too; keep one of them")
    try:
        secret = path.read_text(encoding="utf-8-sig").strip()
    except UnicodeDecodeError:
        raise SettingsError(f"{name}: {path} is not UTF-8 text") from None
    except OSError as error:
        raise SettingsError(f"{name}: {path}: {error.strerror}") from None
    if not secret:
        raise SettingsError(f"{name}: {path} is empty")
    return secret
