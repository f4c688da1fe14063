"""Where messages are kept, as the settings say it: one word, or a URL."""

import os
import re
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from platformdirs import user_state_path
from pydantic import AfterValidator

from agent_hub.config.values import file_path
from agent_hub.config.variables import REDIS_URL, variables

BACKENDS = ("memory", "sqlite", "sqlite:///path", "redis", "redis://host:port/db", "rediss://…")
SQLITE = "sqlite:///"
DATABASE = "agent-hub.db"
DEFAULT_REDIS = "redis://127.0.0.1:6379/0"
REDIS_PLACES = {
    "redis": re.compile(r"(/\d*)?"),
    "rediss": re.compile(r"(/\d*)?"),
    "unix": re.compile(r"/.+"),
}
"""The path in a URL of each scheme: the number of a database, or a socket's place."""


def _known_backend(backend: str) -> str:
    # The refused value is not repeated: a URL may hold a password.
    if backend == "redis":
        return _checked_redis(variables().get(REDIS_URL) or DEFAULT_REDIS, "what REDIS_URL says")
    if is_redis(backend):
        return _checked_redis(backend, "this")
    if backend.startswith(SQLITE) and backend != SQLITE:
        file_path(backend.removeprefix(SQLITE))
    elif backend not in ("memory", "sqlite"):
        raise ValueError(f"this backend is not available; available: {', '.join(BACKENDS)}")
    return backend


Backend = Annotated[str, AfterValidator(_known_backend)]
"""Plain `redis` becomes the URL that it stands for."""


def is_redis(backend: str) -> bool:
    scheme, colon, _ = backend.partition("://")
    return bool(colon) and scheme in REDIS_PLACES


def _checked_redis(url: str, what: str) -> str:
    """The URL, if it is one. The password may be what breaks it: it is not repeated."""
    try:
        parts = urlsplit(url)
        is_whole = parts.port != 0 and not parts.fragment
    except ValueError:  # what stands before a second colon or slash is no port
        pass
    else:
        place = REDIS_PLACES.get(parts.scheme)
        if is_whole and place is not None and place.fullmatch(parts.path):
            return url
    raise ValueError(
        f"{what} is not a Redis URL; write redis://user:password@host:port/db, and percent-encode"
        " what is neither letter nor digit in the password"
    )


def sqlite_path(backend: str) -> Path | None:
    """The database's absolute path, as it was named; None for another backend.

    `sqlite:///` is followed by the path as one would type it: `sqlite:///hub.db` is in the
    working directory, `sqlite:////var/lib/hub.db` is absolute.
    """
    if backend == "sqlite":
        return default_path()
    if backend.startswith(SQLITE):
        return file_path(backend.removeprefix(SQLITE))
    return None


def real_path(path: Path) -> Path:
    """The file itself: it has one lock, by however many links it is reached."""
    return Path(os.path.realpath(path))


def default_path() -> Path:
    """In the platform's folder for what a program keeps."""
    return user_state_path("agent-hub", appauthor=False) / DATABASE
