"""Which credentials the settings ask for, put together for the hub and for the command line."""

from __future__ import annotations

from agent_hub.auth.jwts import Jwts
from agent_hub.auth.key_set import KeySet, source
from agent_hub.auth.proofs import Proofs
from agent_hub.auth.sqlite_store import SqliteStore
from agent_hub.auth.store import CredentialStore
from agent_hub.auth.tokens import Tokens
from agent_hub.config import Settings
from agent_hub.core.clock import Clock


def credential_store(settings: Settings, clock: Clock) -> CredentialStore:
    """Where tokens and revocations are kept; not opened yet."""
    return SqliteStore(settings.credentials_path, clock.time)


def proofs(settings: Settings, store: CredentialStore, clock: Clock) -> Proofs:
    """The ways to prove who calls that the settings name."""
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
    return Proofs(store, clock, tokens=tokens, jwts=jwts)
