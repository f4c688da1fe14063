"""Which credentials the settings ask for, put together for the hub and for the command line."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from agent_hub.audit import AuditLog
from agent_hub.auth import sealed
from agent_hub.auth.jwts import Jwts
from agent_hub.auth.key_set import KeySet, source
from agent_hub.auth.oauth.documents import Documents
from agent_hub.auth.oauth.outside import OutsideProvider
from agent_hub.auth.oauth.server import AuthorizationServer
from agent_hub.auth.oauth.sign_in import OwnerOf
from agent_hub.auth.proofs import TOKEN, Proofs
from agent_hub.auth.redis_store import RedisStore
from agent_hub.auth.sqlite_store import SqliteStore
from agent_hub.auth.store import CredentialStore
from agent_hub.auth.tokens import Tokens
from agent_hub.config import Settings, SettingsError
from agent_hub.core.audit import Audit, Record
from agent_hub.core.clock import Clock
from agent_hub.core.errors import HubError
from agent_hub.redis_way import option_fault


def credential_store(settings: Settings, clock: Clock) -> CredentialStore:
    """Where tokens and revocations are kept, for every hub on one store; not opened yet."""
    url = redis_url(settings)
    if url is not None:
        return RedisStore(url, clock.time)
    return SqliteStore(settings.credentials_path, clock.time)


def redis_url(settings: Settings) -> str | None:
    """Where Redis is, with the password as Redis wants it. Raises SettingsError.

    The password may stand in a setting of its own, and encrypted in either place.
    """
    url = settings.redis_url
    if url is None:
        return None
    if (fault := option_fault(url)) is not None:
        raise SettingsError(f"--backend: {fault}")
    parts = urlsplit(url)
    password = settings.redis_password or unquote(parts.password or "")
    if sealed.is_sealed(password):
        password = _opened(password, settings)
    if not password:
        return url
    user = quote(unquote(parts.username or ""), safe="")
    place = parts.netloc.rpartition("@")[2]
    netloc = f"{user}:{quote(password, safe='')}@{place}"
    return urlunsplit(parts._replace(netloc=netloc))


def _opened(secret: str, settings: Settings) -> str:
    if not settings.secret_key:
        raise SettingsError("the Redis password is encrypted; AGENT_HUB_SECRET_KEY must open it")
    try:
        return sealed.unseal(secret, settings.secret_key)
    except sealed.NotOpened as error:
        raise SettingsError(f"the Redis password: {error}") from None


def audit_log(settings: Settings, clock: Clock, part: str = "") -> AuditLog | None:
    """The audit log that the settings name; None for none. Raises OSError.

    `part` tells several processes apart: each rotates a file of its own.
    """
    if not settings.audit_log:
        return None
    path = Path(settings.audit_log).expanduser().absolute()
    return AuditLog(path.with_name(f"{path.stem}{part}{path.suffix}"), clock.time)


def authorization_server(
    settings: Settings,
    store: CredentialStore,
    clock: Clock,
    owner_of: OwnerOf,
    documents: Documents | None = None,
    audit: Audit | None = None,
) -> AuthorizationServer | None:
    """What signs people in; None where the settings do not ask for it."""
    if "oauth" not in settings.auth:
        return None
    outside = None
    if settings.oidc_issuer:
        outside = OutsideProvider(
            clock,
            issuer=settings.oidc_issuer,
            client_id=settings.oidc_client_id,
            client_secret=settings.oidc_client_secret or None,
            allowed=settings.oidc_allow,
        )
    return AuthorizationServer(
        store,
        clock,
        public_url=settings.public_url or None,
        owner_of=_claimed(owner_of, Tokens(store, clock.time)),
        algorithm=settings.oauth_algorithm,
        secret_key=settings.secret_key,
        client_documents=settings.oauth_client_documents,
        dynamic_registration=settings.oauth_dynamic_registration,
        outside=outside,
        documents=documents,
        audit=audit,
    )


def _claimed(owner_of: OwnerOf, tokens: Tokens) -> OwnerOf:
    """To whom an id belongs; one that nobody registered to whom a token was made out for it."""

    async def owner(agent_id: str) -> str | None:
        known = await owner_of(agent_id)
        if known is not None:
            return known
        named = (token for token in await tokens.known() if agent_id in token.agents)
        return next((f"{TOKEN}{token.name}" for token in named), None)

    return owner


def proofs(
    settings: Settings,
    store: CredentialStore,
    clock: Clock,
    signing_in: AuthorizationServer | None = None,
    audit: Audit | None = None,
) -> Proofs:
    """The ways to prove who calls that the settings name."""
    audit = audit or Audit()

    def refused(via: str, peer: str, credential: str, refusal: HubError) -> None:
        audit.record(
            Record(
                action="authenticate",
                outcome=refusal.code,
                via=via,
                peer=peer,
                credential=credential,
            )
        )

    jwts = None
    if "jwt" in settings.auth:
        jwts = Jwts(
            KeySet(source(settings.jwt_jwks), clock),
            store,
            clock,
            issuer=settings.jwt_issuer,
            audience=settings.jwt_audience,
            algorithms=settings.jwt_algorithms,
            agents_claim=settings.jwt_agent_claim,
            scope_claim=settings.jwt_scope_claim,
        )
    tokens = Tokens(store, clock.time) if "token" in settings.auth else None
    sessions = None if signing_in is None else signing_in.access
    return Proofs(store, clock, tokens=tokens, jwts=jwts, sessions=sessions, on_refused=refused)
