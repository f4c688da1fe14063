"""The settings: flags over the environment over `.env` over defaults."""

from agent_hub.config.backends import BACKENDS, DEFAULT_REDIS
from agent_hub.config.faults import SettingsError
from agent_hub.config.loading import load, variable_names
from agent_hub.config.settings import Settings, SettingsBesideAHub, secret_fields
from agent_hub.config.variables import (
    ENV_FILE,
    OLDER_NAMES,
    PREFIX,
    REDIS_URL,
    flag_name,
    variables_of_environment,
    variables_of_file,
)

__all__ = [
    "BACKENDS",
    "DEFAULT_REDIS",
    "ENV_FILE",
    "OLDER_NAMES",
    "PREFIX",
    "REDIS_URL",
    "Settings",
    "SettingsBesideAHub",
    "SettingsError",
    "flag_name",
    "load",
    "secret_fields",
    "variable_names",
    "variables_of_environment",
    "variables_of_file",
]
