"""What the environment and `.env` say, and the names under which they say it."""

from collections.abc import Mapping

from pydantic_settings import BaseSettings, DotEnvSettingsSource, EnvSettingsSource

PREFIX = "AGENT_HUB_"
IN_A_FILE = "_FILE"
"""What ends the name of a variable that says in which file a secret stands."""
FOR_CLIENTS = ("TOKEN", "URL")
"""What the hub's clients read: it may stand where a hub starts."""
OLDER_NAMES = {
    "MCP_SERVER_HOST": "host",
    "MCP_SERVER_PORT": "port",
    "LOG_LEVEL": "log_level",
    "QUEUE_BACKEND": "backend",
}
"""From before the prefix. An AGENT_HUB_ name wins over them wherever it stands."""
REDIS_URL = "REDIS_URL"
"""The older variable that says where the backend named plainly `redis` is."""
ENV_FILE = ".env"
ENCODING = "utf-8"


def variables() -> dict[str, str | None]:
    """What `.env` and the environment say, by upper-case name."""
    return {**variables_of_file(), **variables_of_environment()}


def variables_of_file() -> dict[str, str | None]:
    """What `.env` says, by upper-case name."""
    return _upper(
        DotEnvSettingsSource(
            BaseSettings, env_file=ENV_FILE, env_file_encoding=ENCODING, env_ignore_empty=False
        ).env_vars
    )


def variables_of_environment() -> dict[str, str | None]:
    """What the environment says, by upper-case name."""
    return _upper(EnvSettingsSource(BaseSettings, env_ignore_empty=False).env_vars)


def _upper(variables: Mapping[str, str | None]) -> dict[str, str | None]:
    return {name.upper(): value for name, value in variables.items()}


def variable_name(field: str) -> str:
    """The variable of a field: `message_ttl` is set by AGENT_HUB_MESSAGE_TTL."""
    return PREFIX + field.upper()


def flag_name(field: str) -> str:
    """The flag of a field: `message_ttl` is set by `--message-ttl`."""
    return "--" + field.replace("_", "-")
