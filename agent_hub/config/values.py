"""What one setting may say, each as a type of its own."""

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_settings import NoDecode

from agent_hub.core.network import is_safe

NO_METHOD = "none"
METHODS = ("token", "jwt", "oauth")
"""The ways to prove who calls."""
ALGORITHMS = (
    "RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 ES512 EdDSA".split()  # noqa: SIM905
)
"""Signatures by a private key; one that is shared with the issuer would be a secret too many."""
MIN_RATE = 0.001
MAX_RATE = 1_000_000
"""What the RateLimit headers can tell: whole numbers of 15 digits, and three decimals."""
ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^\s/?#@*,]+", re.IGNORECASE)


def _split(value: object) -> object:
    """One variable holds a comma-separated list, a repeated flag a list of such."""
    parts = [value] if isinstance(value, str) else value
    if not isinstance(parts, list | tuple):
        return value
    return tuple(item for part in parts for item in str(part).replace(",", " ").split())


Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


LogLevel = Annotated[
    Literal["debug", "info", "warning", "error", "critical"], BeforeValidator(_lower)
]


def _without_brackets(host: str) -> str:
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host


def _can_be_looked_up(host: str) -> str:
    try:
        host.encode("idna")
    except UnicodeError:
        raise ValueError(f"{host!r} is no address and no name of a machine") from None
    return host


Host = Annotated[
    str,
    Field(min_length=1),
    AfterValidator(_without_brackets),
    AfterValidator(_can_be_looked_up),
]


def file_path(text: str) -> Path:
    """Where a file is or will be, absolute. Raises ValueError for what can be no file's path."""
    try:
        path = Path(text).expanduser().absolute()
    except RuntimeError:
        raise ValueError(f"{text!r}: nobody here has that home folder") from None
    if not path.name or "\0" in text:
        raise ValueError(f"{text!r} is no path of a file")
    return path


def _path_of_a_file(text: str) -> str:
    if text:
        file_path(text)
    return text


FilePath = Annotated[str, AfterValidator(_path_of_a_file)]


def _told_in_headers(rate: float) -> float:
    if 0 < rate < MIN_RATE:
        raise ValueError(f"a rate that is not 0 is at least {MIN_RATE:g}")
    return rate


Rate = Annotated[
    float, Field(ge=0, le=MAX_RATE, allow_inf_nan=False), AfterValidator(_told_in_headers)
]


def _exact_origins(origins: tuple[str, ...]) -> tuple[str, ...]:
    origins = tuple(origin.lower().removesuffix("/") for origin in origins)
    for origin in origins:
        if not ORIGIN.fullmatch(origin):
            raise ValueError(
                f"{origin!r} is not an origin; write scheme://host[:port], one for each page"
            )
    return origins


Origins = Annotated[Words, AfterValidator(_exact_origins)]


def _networks(proxies: tuple[str, ...]) -> tuple[str, ...]:
    for proxy in proxies:
        try:
            ipaddress.ip_network(proxy)
        except ValueError:
            raise ValueError(f"{proxy!r} is no address and no network") from None
    return proxies


Networks = Annotated[Words, AfterValidator(_networks)]


# --- who calls ----------------------------------------------------------------------------


def _known_methods(methods: tuple[str, ...]) -> tuple[str, ...]:
    methods = tuple(dict.fromkeys(method.lower() for method in methods))
    for method in methods:
        if method not in (NO_METHOD, *METHODS):
            raise ValueError(f"{method!r} is none of {', '.join((NO_METHOD, *METHODS))}")
    if NO_METHOD in methods and len(methods) > 1:
        raise ValueError("none is all or nothing")
    return () if methods == (NO_METHOD,) else methods


Methods = Annotated[Words, AfterValidator(_known_methods)]


def _known_algorithms(algorithms: tuple[str, ...]) -> tuple[str, ...]:
    for algorithm in algorithms:
        if algorithm not in ALGORITHMS:
            raise ValueError(f"{algorithm!r} is none of {', '.join(ALGORITHMS)}")
    return algorithms


Algorithms = Annotated[Words, AfterValidator(_known_algorithms)]


def _keys_not_in_the_clear(where: str) -> str:
    if not is_safe(where) and "://" in where:
        raise ValueError("the keys must come by https://, or from a file")
    return where


KeysPlace = Annotated[str, AfterValidator(_keys_not_in_the_clear)]


def _whole_origin(url: str) -> str:
    url = url.lower().removesuffix("/")
    if url and not (is_safe(url) and ORIGIN.fullmatch(url)):
        raise ValueError("write https://host[:port], without a path")
    return url


PublicUrl = Annotated[str, AfterValidator(_whole_origin)]


def _issuer_not_in_the_clear(issuer: str) -> str:
    if issuer and not is_safe(issuer):
        raise ValueError("write the issuer's https:// address, as it stands in its tokens")
    return issuer


Issuer = Annotated[str, AfterValidator(_issuer_not_in_the_clear)]


def _known_people(allowed: tuple[str, ...]) -> tuple[str, ...]:
    for one in allowed:
        if one != "*" and "@" not in one and not one.startswith("sub:"):
            raise ValueError(f"{one!r} is no address, @domain, sub:SUBJECT, or *")
    return allowed


People = Annotated[Words, AfterValidator(_known_people)]
