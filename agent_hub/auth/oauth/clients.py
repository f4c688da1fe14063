"""The MCP clients that may bring a person here, and where they may be sent back to."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol
from urllib.parse import urlsplit

from mcp.server.auth.provider import RegistrationError
from mcp.shared.auth import (
    InvalidRedirectUriError,
    InvalidScopeError,
    OAuthClientInformationFull,
)
from pydantic import AnyUrl, ValidationError

from agent_hub.auth.store import CredentialStore, Kind
from agent_hub.core.network import is_this_machine
from agent_hub.core.principal import ORDINARY

MAX_CLIENTS = 1_000
MAX_CLIENT_BYTES = 16 * 1024
CLIENT_SECONDS = 90 * 86_400.0
"""How long a registered client is kept after somebody signed in with it."""
UNUSED_SECONDS = 86_400.0
"""The same while nobody has: what a stranger left makes room for others after that."""

MAX_REDIRECTS = 20
MAX_URI_CHARACTERS = 2_000
MAX_NAME_CHARACTERS = 80

NOT_FOR_APPS = frozenset(
    {"about", "blob", "data", "file", "filesystem", "ftp", "javascript", "vbscript", "ws", "wss"}
)
"""Schemes that a browser acts on by itself: no program waits behind them for its code."""

WAY_TO_PROVE = "token_endpoint_auth_method"
BY_NOTHING, BY_SECRET = "none", "client_secret_post"
"""How a program shows that it is the one that registered, as far as this server takes it."""

SCOPES: tuple[str, ...] = tuple(sorted(scope.value for scope in ORDINARY))
"""What a client may be given. Nobody becomes the hub's administrator through a page."""


class Client(OAuthClientInformationFull):
    """A client as this hub takes it. The SDK's handlers ask it about a request's parameters."""

    def validate_redirect_uri(self, redirect_uri: AnyUrl | None) -> AnyUrl:
        """Exactly one that was registered; on this machine with any port (RFC 8252, 7.3)."""
        if redirect_uri is None:
            return super().validate_redirect_uri(None)
        for known in self.redirect_uris or ():
            if _is_same(redirect_uri, known):
                return redirect_uri
        raise InvalidRedirectUriError("this redirect_uri is not one of the client's")

    def validate_scope(self, requested_scope: str | None) -> list[str]:
        """Those of the requested scopes that there are; all when none is named."""
        if requested_scope is None:
            return list(SCOPES)
        known = [scope for scope in SCOPES if scope in requested_scope.split(" ")]
        if not known:
            raise InvalidScopeError(f"there are the scopes {' '.join(SCOPES)}")
        return known

    @property
    def label(self) -> str:
        """What the client calls itself, in one short line; its id when it does not."""
        name = "".join(filter(str.isprintable, self.client_name or "")).strip()
        return (name or self.client_id)[:MAX_NAME_CHARACTERS]


class Documents(Protocol):
    """Finds a client whose id is the address of a document about it."""

    async def find(self, client_id: str) -> Client | None: ...


class Clients:
    """Finds and registers clients. `now` is the wall clock; without `documents` none is read."""

    def __init__(
        self, store: CredentialStore, now: Callable[[], float], documents: Documents | None
    ) -> None:
        self._store = store
        self._now = now
        self._documents = documents

    async def find(self, client_id: str) -> Client | None:
        if client_id.startswith("https://"):
            return None if self._documents is None else await self._documents.find(client_id)
        kept = await self._store.get(Kind.CLIENT, client_id)
        return None if kept is None else Client.model_validate_json(kept)

    async def register(self, given: OAuthClientInformationFull) -> None:
        """Raises RegistrationError (RFC 7591, 3.2.2)."""
        check_redirects(given.redirect_uris)
        if given.token_endpoint_auth_method not in (BY_NOTHING, BY_SECRET):
            raise RegistrationError(
                "invalid_client_metadata",
                "token_endpoint_auth_method must be none or client_secret_post",
            )
        if len(given.model_dump_json(exclude_none=True)) > MAX_CLIENT_BYTES:
            raise RegistrationError(
                "invalid_client_metadata", f"at most {MAX_CLIENT_BYTES} bytes are kept"
            )
        if len(await self._store.entries(Kind.CLIENT)) >= MAX_CLIENTS:
            raise RegistrationError(
                "invalid_client_metadata", f"{MAX_CLIENTS} clients are registered, and no more"
            )
        await self.keep(given, UNUSED_SECONDS)

    async def keep(
        self, client: OAuthClientInformationFull, seconds: float = CLIENT_SECONDS
    ) -> None:
        """Keep a registered client for so long from now."""
        if client.client_id.startswith("https://"):
            return
        await self._store.put(
            Kind.CLIENT,
            client.client_id,
            client.model_dump_json(exclude_none=True).encode(),
            expires_at=self._now() + seconds,
        )


def check_redirects(uris: Iterable[AnyUrl] | None) -> None:
    """Raise RegistrationError for what no code may be sent to."""
    listed = [str(uri) for uri in uris or ()]
    if not 0 < len(listed) <= MAX_REDIRECTS:
        raise RegistrationError("invalid_redirect_uri", f"1 to {MAX_REDIRECTS} redirect_uris")
    for uri in listed:
        if not _may_be_redirect(uri):
            raise RegistrationError(
                "invalid_redirect_uri",
                "each is https, http on this machine, or a scheme of the program's own,"
                " without fragment or user",
            )


def _may_be_redirect(uri: str) -> bool:
    parts = urlsplit(uri)
    if len(uri) > MAX_URI_CHARACTERS or parts.fragment or "@" in parts.netloc:
        return False
    if parts.scheme == "https":
        return bool(parts.hostname)
    if parts.scheme == "http":
        return is_this_machine(parts.hostname)
    return parts.scheme not in NOT_FOR_APPS and bool(parts.netloc or parts.path)


def _is_same(asked: AnyUrl, known: AnyUrl) -> bool:
    """Part by part; on this machine the port makes no difference, and nowhere an empty path."""
    is_here = asked.scheme == "http" and is_this_machine(asked.host)
    return _parts(asked) == _parts(known) and (is_here or asked.port == known.port)


def _parts(uri: AnyUrl) -> tuple[object, ...]:
    path = uri.path or "/"  # browsers go to the same place
    return uri.scheme, uri.username, uri.password, uri.host, path, uri.query, uri.fragment


def client_of(found: object, client_id: str) -> Client | None:
    """The client that a document describes; None for what describes none that may come here.

    A document's client proves nothing by a secret: none could be kept in a public document.
    """
    if not isinstance(found, dict) or found.get("client_id") != client_id:
        return None
    if "client_secret" in found or found.get(WAY_TO_PROVE, BY_NOTHING) != BY_NOTHING:
        return None
    try:
        client = Client.model_validate({**found, WAY_TO_PROVE: BY_NOTHING})
        check_redirects(client.redirect_uris)
    except (ValidationError, RegistrationError):
        return None
    return client
