"""What is wrong with settings, in one line that names the flag or the variable."""

from pydantic_core import PydanticCustomError


class SettingsError(Exception):
    """The hub cannot start like this. The text is one line that names the variable or flag."""


def fault(field: str, text: str) -> PydanticCustomError:
    """Of a rule over several fields, told of the one that is to be changed."""
    return PydanticCustomError("rule", "{text}", {"field": field, "text": text})
