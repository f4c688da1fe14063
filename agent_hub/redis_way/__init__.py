"""The way to a Redis: what its URL asks for, why no TLS came about, whether it is a cluster."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from urllib.parse import parse_qsl, urlsplit

from redis.asyncio.connection import ConnectionPool, SSLConnection
from redis.exceptions import RedisError


def option_fault(url: str) -> str | None:
    """What is wrong with the options of a URL, or with the files that they name; None if nothing.

    Their values are not repeated.
    """
    try:
        connection = ConnectionPool.from_url(url).make_connection()  # type: ignore[no-untyped-call]
        if isinstance(connection, SSLConnection):
            connection.ssl_context.get()
    except (TypeError, ValueError, RedisError, OSError) as error:
        names = ", ".join(name for name, _ in parse_qsl(urlsplit(url).query))
        why = f" ({error.strerror})" if isinstance(error, OSError) and error.strerror else ""
        return f"an option of the Redis URL is unknown or cannot be used{why}; it has {names}"
    return None


def is_cluster(about: Mapping[str, object]) -> bool:
    """By what `INFO server` says: Valkey has another word for it since its version 8."""
    return "cluster" in (about.get("redis_mode"), about.get("server_mode"))


def tls_failure(error: BaseException) -> str | None:
    """Why there is no TLS, in OpenSSL's words, which hold no secret; None if that is not it."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLError):
        cause = cause.__context__
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {cause.verify_message.rstrip('.')}"
    return None if cause is None else f"no TLS: {cause.reason or type(cause).__name__}"
