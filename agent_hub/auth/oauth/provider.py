"""What the SDK's handlers ask: clients, codes and tokens, as this hub gives them out."""

from __future__ import annotations

import hashlib
import re
import secrets
from urllib.parse import urlencode

import msgspec
from mcp.server.auth.provider import (
    AccessToken,
    AuthorizationCode,
    AuthorizationParams,
    AuthorizeError,
    OAuthAuthorizationServerProvider,
    RefreshToken,
    TokenError,
)
from mcp.shared.auth import OAuthClientInformationFull, OAuthToken
from msgspec import Struct

from agent_hub.auth.oauth.access import ACCESS, REFRESH, Access, Claims
from agent_hub.auth.oauth.clients import Client, Clients
from agent_hub.auth.oauth.requests import Request, Requests
from agent_hub.auth.oauth.sessions import Session, Sessions
from agent_hub.auth.oauth.where import BASE, is_resource
from agent_hub.auth.store import CredentialStore, Kind
from agent_hub.core.clock import Clock
from agent_hub.core.errors import Unauthenticated

CODE_SECONDS = 600.0
CODE_BYTES = 32
SIGN_IN_PATH = "/oauth/sign-in"
MAX_STATE_CHARACTERS = 4_000
CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")
"""What SHA-256 gives in base64url (RFC 7636, 4.2)."""
FOREVER = float("inf")
"""The SDK would ask the machine's clock; the store has asked the hub's."""


class _Kept(Struct, frozen=True):
    """What a code stands for: what was asked, and the session that its exchange begins."""

    request: Request
    session: Session


class Code(AuthorizationCode):
    """A code as the SDK wants it, and what it stands for."""

    base: str
    session: bytes


class Renewal(RefreshToken):
    """A refresh token as the SDK wants it, and what it says."""

    claims: bytes


class Presented(AccessToken):
    """An access token as the SDK wants it, and what it says."""

    said: bytes


class Provider(OAuthAuthorizationServerProvider[Code, Renewal, Presented]):
    """Each method is one step of the protocol; the SDK's handlers check its form before."""

    def __init__(
        self,
        clients: Clients,
        requests: Requests,
        sessions: Sessions,
        access: Access,
        store: CredentialStore,
        clock: Clock,
    ) -> None:
        self._clients = clients
        self._requests = requests
        self._sessions = sessions
        self._access = access
        self._store = store
        self._clock = clock

    # --- clients --------------------------------------------------------------------------

    async def get_client(self, client_id: str) -> Client | None:
        return await self._clients.find(client_id)

    async def register_client(self, client_info: OAuthClientInformationFull) -> None:
        await self._clients.register(client_info)

    # --- the question, and the person's answer --------------------------------------------

    async def authorize(
        self, client: OAuthClientInformationFull, params: AuthorizationParams
    ) -> str:
        """Keep what is asked for, and send the browser to the page. Raises AuthorizeError."""
        assert isinstance(client, Client)
        base = BASE.get()
        if params.resource is not None and not is_resource(params.resource, base):
            raise AuthorizeError(
                "invalid_target",  # RFC 8707, 2
                "this authorization server gives tokens for its own hub alone",
            )
        if not CHALLENGE.fullmatch(params.code_challenge):
            raise AuthorizeError("invalid_request", "code_challenge is no S256 challenge")
        if len(params.state or "") > MAX_STATE_CHARACTERS:
            raise AuthorizeError("invalid_request", "state is too long")
        request = Request(
            id=self._requests.name(),
            base=base,
            client_id=client.client_id,
            client_name=client.label,
            redirect_uri=str(params.redirect_uri),
            redirect_uri_provided_explicitly=params.redirect_uri_provided_explicitly,
            state=params.state,
            scopes=tuple(params.scopes or ()),
            code_challenge=params.code_challenge,
        )
        await self._requests.keep(request)
        return f"{base}{SIGN_IN_PATH}?{urlencode({'request': request.id})}"

    async def agreed(
        self,
        request: Request,
        *,
        subject: str,
        person: str,
        proof: str,
        agent: str,
        scopes: tuple[str, ...],
    ) -> str:
        """A person agreed to a request: the address to send the browser to, with a code."""
        session = Session(
            id=self._sessions.name(),
            subject=subject,
            person=person,
            proof=proof,
            client_id=request.client_id,
            client_name=request.client_name,
            agent=agent,
            scopes=scopes,
            created_at=0.0,
            last_active=0.0,
        )
        code = secrets.token_urlsafe(CODE_BYTES)
        await self._store.put(
            Kind.CODE,
            _digest(code),
            msgspec.json.encode(_Kept(request, session)),
            expires_at=self._clock.time() + CODE_SECONDS,
        )
        client = await self._clients.find(request.client_id)
        if client is not None:
            await self._clients.keep(client)
        return request.answer(code=code)

    # --- codes ----------------------------------------------------------------------------

    async def load_authorization_code(
        self, client: OAuthClientInformationFull, authorization_code: str
    ) -> Code | None:
        digest = _digest(authorization_code)
        kept = await self._store.get(Kind.CODE, digest)
        if kept is None:
            await self._end_if_replayed(digest)
            return None
        found = msgspec.json.decode(kept, type=_Kept)
        request = found.request
        return Code.model_validate(
            {
                "code": authorization_code,
                "scopes": list(found.session.scopes),
                "expires_at": FOREVER,
                "client_id": request.client_id,
                "code_challenge": request.code_challenge,
                "redirect_uri": request.redirect_uri,
                "redirect_uri_provided_explicitly": request.redirect_uri_provided_explicitly,
                "subject": found.session.subject,
                "base": request.base,
                "session": msgspec.json.encode(found.session),
            }
        )

    async def _end_if_replayed(self, digest: str) -> None:
        """Of two who show a code, one stole it; nobody knows which (RFC 6749, 4.1.2)."""
        session_id = await self._store.get(Kind.SPENT, digest)
        if session_id is not None:
            await self._sessions.end(session_id.decode())

    async def exchange_authorization_code(
        self, client: OAuthClientInformationFull, authorization_code: Code
    ) -> OAuthToken:
        if authorization_code.base != BASE.get():
            raise TokenError("invalid_grant", "the code is of another issuer")
        digest = _digest(authorization_code.code)
        session = msgspec.json.decode(authorization_code.session, type=Session)
        await self._store.put(
            Kind.SPENT,
            digest,
            session.id.encode(),
            expires_at=self._clock.time() + CODE_SECONDS,
        )
        # Before it is known who has it: of two at once the later one must find a session to end.
        await self._sessions.create(session)
        if not await self._store.delete(Kind.CODE, digest):
            await self._sessions.end(session.id)
            raise TokenError("invalid_grant", "authorization code does not exist")
        return await self._access.give(session, authorization_code.base, session.scopes)

    # --- refresh tokens -------------------------------------------------------------------

    async def load_refresh_token(
        self, client: OAuthClientInformationFull, refresh_token: str
    ) -> Renewal | None:
        claims = await self._read(refresh_token, REFRESH)
        if claims is None or claims.client_id != client.client_id:
            return None
        return Renewal(
            token=refresh_token,
            client_id=claims.client_id,
            scopes=claims.scope.split(),
            subject=claims.sub,
            claims=msgspec.json.encode(claims),
        )

    async def exchange_refresh_token(
        self, client: OAuthClientInformationFull, refresh_token: Renewal, scopes: list[str]
    ) -> OAuthToken:
        claims = msgspec.json.decode(refresh_token.claims, type=Claims)
        if claims.iss != BASE.get():
            raise TokenError("invalid_grant", "the refresh token is of another issuer")
        if not await self._access.spend(claims):
            raise TokenError("invalid_grant", "the refresh token was used before: sign in again")
        session = await self._sessions.use(claims.sid)
        if session is None:
            raise TokenError("invalid_grant", "the session is over: sign in again")
        return await self._access.give(session, claims.iss, scopes)

    # --- access tokens and revocation -----------------------------------------------------

    async def load_access_token(self, token: str) -> Presented | None:
        claims = await self._read(token, ACCESS)
        if claims is None:
            return None
        return Presented(
            token=token,
            client_id=claims.client_id,
            scopes=claims.scope.split(),
            said=msgspec.json.encode(claims),
        )

    async def revoke_token(self, token: Presented | Renewal) -> None:
        said = token.said if isinstance(token, Presented) else token.claims
        await self._access.revoke(msgspec.json.decode(said, type=Claims))

    async def _read(self, token: str, kind: str) -> Claims | None:
        try:
            return await self._access.read(token, kind)
        except Unauthenticated:
            return None


def _digest(code: str) -> str:
    return hashlib.sha256(code.encode()).hexdigest()
