"""The authorization server, put together: its parts, and its routes on the SDK's handlers.

The SDK checks the form of each request and runs the protocol. What it leaves open is decided
here: what may stand in a request twice, how S256 is asked for, for which resource a token is,
who answers (RFC 9207), and how often a stranger may come.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from mcp.server.auth.handlers.authorize import AuthorizationHandler
from mcp.server.auth.handlers.register import RegistrationHandler
from mcp.server.auth.handlers.revoke import RevocationHandler
from mcp.server.auth.handlers.token import TokenHandler
from mcp.server.auth.middleware.client_auth import ClientAuthenticator
from mcp.server.auth.settings import ClientRegistrationOptions
from mcp.shared.auth import OAuthMetadata, ProtectedResourceMetadata
from msgspec import Struct
from starlette.formparsers import MultiPartException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Message, Receive, Scope, Send

from agent_hub.auth.attempts import Attempts
from agent_hub.auth.networks import Networks
from agent_hub.auth.oauth.access import Access
from agent_hub.auth.oauth.clients import SCOPES, Clients
from agent_hub.auth.oauth.documents import Documents
from agent_hub.auth.oauth.login_codes import LoginCodes
from agent_hub.auth.oauth.outside import CALLBACK_PATH, OutsideProvider
from agent_hub.auth.oauth.provider import SIGN_IN_PATH, Provider
from agent_hub.auth.oauth.requests import Requests
from agent_hub.auth.oauth.sessions import Sessions
from agent_hub.auth.oauth.sign_in import OwnerOf, SignIn, unavailable
from agent_hub.auth.oauth.signing_keys import SigningKeys
from agent_hub.auth.oauth.where import BASE, MCP_PATH, Where, is_resource, resource_of
from agent_hub.auth.store import CredentialStore
from agent_hub.core.audit import Audit
from agent_hub.core.clock import Clock
from agent_hub.core.errors import BackendUnavailable, BodyTooLarge

AUTHORIZE_PATH = "/authorize"
TOKEN_PATH = "/token"  # nosec B105
REVOKE_PATH = "/revoke"
REGISTER_PATH = "/register"
JWKS_PATH = "/.well-known/jwks.json"
SERVER_PATH = "/.well-known/oauth-authorization-server"
RESOURCE_PATH = "/.well-known/oauth-protected-resource"

FORM = "application/x-www-form-urlencoded"
MAX_BODY_BYTES = 64 * 1024
STRANGERS_A_SECOND = 1.0
STRANGERS_AT_ONCE = 60
PUBLIC_SECONDS = 300

Handle = Callable[[Request], Awaitable[Response]]


class Endpoint(Struct, frozen=True):
    """One route. `takes_form` if its body is a form; `is_page` if a person's browser comes here."""

    method: str
    path: str
    handle: Handle
    takes_form: bool = False
    is_page: bool = False
    is_limited: bool = True


class AuthorizationServer:
    """Everything that signs people in. `access` judges the tokens that came of it."""

    def __init__(
        self,
        store: CredentialStore,
        clock: Clock,
        *,
        public_url: str | None,
        owner_of: OwnerOf,
        algorithm: str = "ES256",
        secret_key: str = "",
        client_documents: bool = True,
        dynamic_registration: bool = False,
        outside: OutsideProvider | None = None,
        documents: Documents | None = None,
        audit: Audit | None = None,
    ) -> None:
        audit = audit or Audit()
        self._where = Where(public_url)
        self._keys = SigningKeys(store, clock, algorithm, secret_key=secret_key)
        self._registers = dynamic_registration
        self._has_outside = outside is not None
        sessions = Sessions(store, clock.time)
        self.access = Access(self._keys, sessions, store, clock, self._where, audit)
        requests = Requests(store, clock.time)
        self._fetches = client_documents
        fetched = documents or Documents(clock)
        clients = Clients(store, clock.time, fetched if client_documents else None)
        self._provider = Provider(clients, requests, sessions, self.access, store, clock)
        self._sign_in = SignIn(
            self._provider,
            requests,
            LoginCodes(store, clock.time),
            Attempts(clock),
            _claimed(owner_of, sessions),
            outside,
            audit,
        )
        self._strangers = Networks(STRANGERS_A_SECOND, STRANGERS_AT_ONCE, clock)
        self._authorize = AuthorizationHandler(self._provider)
        authenticator = ClientAuthenticator(self._provider)
        self._token = TokenHandler(self._provider, authenticator)
        self._revoke = RevocationHandler(self._provider, authenticator)
        self._register = RegistrationHandler(
            self._provider, ClientRegistrationOptions(enabled=True)
        )

    async def open(self) -> None:
        """Have a key to sign with. Raises BackendUnavailable."""
        await self._keys.open()

    def base(self, scheme: str, host: str) -> str:
        """The issuer, for a request that came by this scheme to this host."""
        return self._where.base(scheme, host)

    def resource_metadata(self, scheme: str, host: str) -> str:
        """Where a client reads how to get a token: for the challenge of a 401 (RFC 9728, 5.1)."""
        return self.base(scheme, host) + RESOURCE_PATH + MCP_PATH

    def endpoints(self) -> Iterator[Endpoint]:
        """Every route of the server."""
        yield Endpoint("GET", SERVER_PATH, self._server_metadata, is_limited=False)
        for tail in (MCP_PATH, MCP_PATH + "/", ""):
            yield Endpoint("GET", RESOURCE_PATH + tail, self._resource_metadata, is_limited=False)
        yield Endpoint("GET", JWKS_PATH, self._jwks, is_limited=False)
        yield Endpoint("GET", AUTHORIZE_PATH, self._authorized, is_page=True)
        yield Endpoint("POST", TOKEN_PATH, self._tokens, takes_form=True)
        yield Endpoint("POST", REVOKE_PATH, self._revoked, takes_form=True)
        if self._registers:
            yield Endpoint("POST", REGISTER_PATH, self._registered)
        yield Endpoint("GET", SIGN_IN_PATH, self._page(self._sign_in.show), is_page=True)
        yield Endpoint(
            "POST", SIGN_IN_PATH, self._page(self._sign_in.answer), takes_form=True, is_page=True
        )
        if self._has_outside:
            yield Endpoint("GET", CALLBACK_PATH, self._page(self._sign_in.come_back), is_page=True)

    def application(self, endpoint: Endpoint) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
        """A route as an ASGI application. Raises RateLimited, BodyTooLarge before its answer."""

        async def run(scope: Scope, receive: Receive, send: Send) -> None:
            request = Request(scope, receive)
            if endpoint.is_limited:
                self._count(request)
            if len(await request.body()) > MAX_BODY_BYTES:
                raise BodyTooLarge(f"at most {MAX_BODY_BYTES} bytes are taken")
            BASE.set(self.base(scope["scheme"], request.headers.get("host", "")))
            if endpoint.takes_form and not await _has_form(request):
                response = _no("invalid_request", "the form has too many fields, or is none")
            else:
                response = await endpoint.handle(request)
            await response(scope, receive, send)

        return run

    def _count(self, request: Request) -> None:
        """Raise RateLimited for a network that comes too often: it may have the hub fetch, and
        keep what it asked for.
        """
        self._strangers.take(request.client.host if request.client else "")

    # --- what there is --------------------------------------------------------------------

    async def _server_metadata(self, request: Request) -> Response:
        """RFC 8414."""
        base = BASE.get()
        registration = {"registration_endpoint": base + REGISTER_PATH} if self._registers else {}
        metadata = OAuthMetadata.model_validate(
            {
                "issuer": base,
                "authorization_endpoint": base + AUTHORIZE_PATH,
                "token_endpoint": base + TOKEN_PATH,
                "revocation_endpoint": base + REVOKE_PATH,
                **registration,
                "scopes_supported": list(SCOPES),
                "response_types_supported": ["code"],
                "response_modes_supported": ["query"],
                "grant_types_supported": ["authorization_code", "refresh_token"],
                "token_endpoint_auth_methods_supported": ["none", "client_secret_post"],
                "revocation_endpoint_auth_methods_supported": ["none", "client_secret_post"],
                "code_challenge_methods_supported": ["S256"],
                "client_id_metadata_document_supported": self._fetches,
                "authorization_response_iss_parameter_supported": True,
            }
        )
        whole = metadata.model_dump(mode="json", exclude_none=True)
        return _public({**whole, "jwks_uri": base + JWKS_PATH})

    async def _resource_metadata(self, request: Request) -> Response:
        """RFC 9728."""
        base = BASE.get()
        metadata = ProtectedResourceMetadata.model_validate(
            {
                "resource": resource_of(base),
                "authorization_servers": [base],
                "scopes_supported": list(SCOPES),
                "resource_name": "Agent Hub",
            }
        )
        return _public(metadata.model_dump(mode="json", exclude_none=True))

    async def _jwks(self, request: Request) -> Response:
        return _public(await self._keys.public())

    # --- the protocol ---------------------------------------------------------------------

    async def _authorized(self, request: Request) -> Response:
        fault = _twice(request.query_params.multi_items())
        if fault is not None:
            return _no("invalid_request", fault)
        if "code_challenge_method" not in request.query_params:
            request = _with_plain(request)
        return _with_issuer(await self._authorize.handle(request))

    async def _tokens(self, request: Request) -> Response:
        form = await request.form()
        fault = _twice(form.multi_items())
        if fault is not None:
            return _no("invalid_request", fault)
        resource = form.get("resource")
        if resource is not None and not is_resource(str(resource), BASE.get()):
            return _no("invalid_target", "this server gives tokens for its own hub alone")
        response: Response = await self._token.handle(request)
        return response

    async def _revoked(self, request: Request) -> Response:
        items = (await request.form()).multi_items()
        fault = _twice(items)
        if fault is not None:
            return _no("invalid_request", fault)
        if not any(name == "client_secret" for name, _ in items):
            request = _with_body(request, await request.body() + b"&client_secret=")
        return await self._revoke.handle(request)

    async def _registered(self, request: Request) -> Response:
        response = await self._register.handle(request)
        response.headers["Cache-Control"] = "no-store"
        return response

    def _page(self, show: Handle) -> Handle:
        async def shown(request: Request) -> Response:
            try:
                return await show(request)
            except BackendUnavailable as error:
                return unavailable(error)

        return shown


def _claimed(owner_of: OwnerOf, sessions: Sessions) -> OwnerOf:
    """To whom an id belongs, also while nobody has registered it: then to who is signed in as it.

    Else whoever signs in next could read what waits for it.
    """

    async def owner(agent_id: str) -> str | None:
        known = await owner_of(agent_id)
        if known is not None:
            return known
        standing = await sessions.all()
        return next((one.subject for one in standing if one.agent == agent_id), None)

    return owner


def _twice(items: list[tuple[str, Any]]) -> str | None:
    """What is wrong with parameters of which one is given twice (RFC 6749, 3.1)."""
    seen: set[str] = set()
    for name, _ in items:
        if name in seen:
            return f"{name[:64]} is given twice"
        seen.add(name)
    return None


async def _has_form(request: Request) -> bool:
    """Whether there is one; it is read once. Starlette takes a thousand fields."""
    try:
        await request.form()
    except MultiPartException:
        return False
    return True


def _with_plain(request: Request) -> Request:
    """The same request, saying what it means: without a method the challenge is `plain`
    (RFC 7636, 4.3). The SDK would take S256 for granted; this it refuses.
    """
    query = request.scope["query_string"] + b"&code_challenge_method=plain"
    return Request({**request.scope, "query_string": query}, request.receive)


def _with_body(request: Request, body: bytes) -> Request:
    """The same request with another body: the SDK's revocation asks also those for a secret that
    have none.
    """

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return Request(request.scope, receive)


def _with_issuer(response: Response) -> Response:
    """The SDK names no issuer where it sends a browser back with an error (RFC 9207, 2)."""
    location = response.headers.get("location")
    if location is None or location.startswith(BASE.get() + SIGN_IN_PATH):
        return response
    parts = urlsplit(location)
    query = [*parse_qsl(parts.query, keep_blank_values=True), ("iss", BASE.get())]
    response.headers["location"] = parts._replace(query=urlencode(query)).geturl()
    return response


def _no(error: str, description: str) -> Response:
    body = {"error": error, "error_description": description}
    return JSONResponse(body, 400, {"Cache-Control": "no-store"})


def _public(body: Mapping[str, Any]) -> Response:
    return JSONResponse(body, 200, {"Cache-Control": f"public, max-age={PUBLIC_SECONDS}"})
