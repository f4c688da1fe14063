"""Tokens of an outside issuer: the good ones, and all the ways to forge one."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from agent_hub.auth.jwts import ALGORITHMS as ALL_ALGORITHMS
from agent_hub.auth.jwts import LEEWAY_SECONDS, Jwts
from agent_hub.auth.key_set import KeySet
from agent_hub.auth.revocations import Revocations
from agent_hub.auth.store import CredentialStore
from agent_hub.core.errors import Invalid, Unauthenticated
from agent_hub.core.principal import ORDINARY, Principal
from tests.auth.issuer import AUDIENCE, ISSUER, Issuer, raw, rsa_key, signed_with_a_secret
from tests.auth.memory_store import MemoryStore
from tests.clock import ManualClock

KEYS = Issuer(0)
"""Making an RSA key takes long: all tests share these."""


@pytest.fixture
def issuer(clock: ManualClock) -> Issuer:
    issuer = Issuer.__new__(Issuer)
    issuer.now, issuer.keys, issuer.fetches = clock.time(), dict(KEYS.keys), 0
    return issuer


@pytest.fixture
def store(clock: ManualClock) -> CredentialStore:
    return MemoryStore(clock.time)


@pytest.fixture
def jwts(issuer: Issuer, store: CredentialStore, clock: ManualClock) -> Jwts:
    return Jwts(
        KeySet(issuer.fetch, clock),
        store,
        clock,
        issuer=ISSUER,
        audience=AUDIENCE,
        algorithms=ALL_ALGORITHMS,
    )


async def prove(jwts: Jwts, token: str) -> Principal:
    return await jwts.prove(token, via="rest", peer="192.0.2.1")


@pytest.mark.parametrize("key", ["rsa", "ec", "ed"])
async def test_a_token_of_the_issuer_proves_who_calls(jwts: Jwts, issuer: Issuer, key: str) -> None:
    caller = await prove(jwts, issuer.token(key))
    assert caller.agents == frozenset({"beta"})
    assert caller.scopes == ORDINARY
    assert caller.subject == f"jwt:{ISSUER} beta's person"
    assert caller.credential == "jwt:token-1"
    assert caller.expires_at == issuer.now + 600 + LEEWAY_SECONDS


@pytest.mark.parametrize(
    "headers", [{"typ": "JWT"}, {"typ": "application/at+jwt"}, {"alg": "PS256"}, {"alg": "RS512"}]
)
async def test_the_usual_headers_are_fine(
    jwts: Jwts, issuer: Issuer, headers: dict[str, str]
) -> None:
    assert (await prove(jwts, issuer.token(headers=headers))).names("beta")


async def test_claims_name_agents_and_scopes(jwts: Jwts, issuer: Issuer) -> None:
    token = issuer.token(agent=["beta", "team-*"], scope=["openid", "message:read"])
    caller = await prove(jwts, token)
    assert caller.agents == frozenset({"beta", "team-*"})
    assert caller.scopes == {"message:read"}


async def test_who_is_given_nothing_may_do_nothing(jwts: Jwts, issuer: Issuer) -> None:
    caller = await prove(jwts, issuer.token(agent=None, scope=None))
    assert (caller.agents, caller.scopes) == (frozenset(), frozenset())
    assert not caller.is_anyone


async def test_the_claims_can_have_other_names(
    issuer: Issuer, store: CredentialStore, clock: ManualClock
) -> None:
    jwts = Jwts(
        KeySet(issuer.fetch, clock),
        store,
        clock,
        issuer=ISSUER,
        audience=AUDIENCE,
        algorithms=("RS256",),
        agents_claim="https://hub.example/agents",
        scope_claim="permissions",
    )
    claims: dict[str, Any] = {"https://hub.example/agents": ["alpha"]}
    token = issuer.token(permissions=["message:send"], **claims)
    caller = await prove(jwts, token)
    assert (caller.agents, caller.scopes) == (frozenset({"alpha"}), frozenset({"message:send"}))


# --- forged ---------------------------------------------------------------------------------

Forge = Callable[[Issuer], str]
HEADER = {"alg": "RS256", "typ": "at+jwt", "kid": "rsa"}


def resigned(part: int, old: str, new: str) -> Forge:
    """A good token, changed after it was signed."""

    def forge(issuer: Issuer) -> str:
        header, claims, signature = issuer.token().split(".")
        whole = [jwt.utils.base64url_decode(header), jwt.utils.base64url_decode(claims)]
        assert old.encode() in whole[part]
        whole[part] = whole[part].replace(old.encode(), new.encode())
        return raw(whole[0], whole[1], jwt.utils.base64url_decode(signature))

    return forge


def by_another(issuer: Issuer) -> str:
    """The right name, but somebody else's key."""
    other = Issuer.__new__(Issuer)
    other.now, other.keys = issuer.now, {**issuer.keys, "rsa": OTHER_KEY}
    return other.token()


def with_own_key(header: str) -> Forge:
    """Signed by a key that the token brings along, or says where to fetch."""

    def forge(issuer: Issuer) -> str:
        other = Issuer.__new__(Issuer)
        other.now, other.keys = issuer.now, {**issuer.keys, "rsa": OTHER_KEY}
        brought: dict[str, Any] = {
            "jwk": other.jwk("rsa"),
            "jku": "https://attacker.example/jwks.json",
            "x5u": "https://attacker.example/cert.pem",
            "x5c": ["MIIB"],
        }
        return other.token(headers={header: brought[header]})

    return forge


OTHER_KEY = rsa_key()

FORGED: dict[str, Forge] = {
    "alg none": lambda i: raw({**HEADER, "alg": "none"}, i.claims()),
    "alg None, as others spell it": lambda i: raw({**HEADER, "alg": "nOnE"}, i.claims()),
    "no alg at all": lambda i: raw({"typ": "at+jwt", "kid": "rsa"}, i.claims()),
    "no signature": lambda i: i.token().rpartition(".")[0] + ".",
    "HS256 with the public key": lambda i: signed_with_a_secret(
        {**HEADER, "alg": "HS256"}, i.claims(), i.public_pem("rsa")
    ),
    "HS256 with the public key as a JWK": lambda i: signed_with_a_secret(
        {**HEADER, "alg": "HS256"}, i.claims(), json.dumps(i.jwk("rsa")).encode()
    ),
    "RS256, but signed as HS256": lambda i: signed_with_a_secret(
        HEADER, i.claims(), i.public_pem("rsa")
    ),
    "somebody else's key": by_another,
    "its own key (jwk)": with_own_key("jwk"),
    "its own key (jku)": with_own_key("jku"),
    "its own key (x5u)": with_own_key("x5u"),
    "its own key (x5c)": with_own_key("x5c"),
    "a path for a kid": lambda i: i.token(headers={"kid": "../../../../dev/null"}),
    "an absolute path for a kid": lambda i: signed_with_a_secret(
        {**HEADER, "alg": "HS256", "kid": "/dev/null"}, i.claims(), b""
    ),
    "SQL for a kid": lambda i: i.token(headers={"kid": "x' UNION SELECT 'secret"}),
    "an unknown kid": lambda i: i.token(headers={"kid": "rsa2"}),
    "a kid that is no text": lambda i: raw({**HEADER, "kid": ["rsa"]}, i.claims(), b"x"),
    "the key of another algorithm": lambda i: i.token("ec", headers={"kid": "rsa"}),
    "no kid, and several keys that fit none": lambda i: raw(
        {"alg": "ES384", "typ": "JWT"}, i.claims(), b"x" * 96
    ),
    "crit": lambda i: i.token(headers={"crit": ["exp"], "exp": 1}),
    "b64": lambda i: i.token(headers={"crit": ["b64"], "b64": True}),
    "zip": lambda i: i.token(headers={"zip": "DEF"}),
    "a list of audiences, ours among them": lambda i: i.token(aud=[AUDIENCE, "https://other"]),
    "a list of one audience": lambda i: i.token(aud=[AUDIENCE]),
    "another audience": lambda i: i.token(aud="https://other.example"),
    "an audience that begins like ours": lambda i: i.token(aud=AUDIENCE + ".attacker.example"),
    "no audience": lambda i: i.token(aud=None),
    "an issuer within ours": lambda i: i.token(iss="https://issuer"),
    "an issuer around ours": lambda i: i.token(iss=ISSUER + ".attacker.example"),
    "a list of issuers": lambda i: i.token(iss=[ISSUER]),
    "an issuer that is ours but for a slash": lambda i: i.token(iss=ISSUER + "/"),
    "no issuer": lambda i: i.token(iss=None),
    "expired": lambda i: i.token(exp=int(i.now - LEEWAY_SECONDS)),
    "without an end": lambda i: i.token(exp=None),
    "an end that is a text": lambda i: i.token(exp="9999999999"),
    "an end that is true": lambda i: i.token(exp=True),
    "an end that is no number": lambda i: raw(HEADER, b'{"exp": NaN}', b"x"),
    "an end beyond all numbers": lambda i: i.token(exp=10**400),
    "an infinite end": lambda i: i.token(exp=float("inf")),
    "not valid yet": lambda i: i.token(nbf=int(i.now + LEEWAY_SECONDS) + 1),
    "made in the future": lambda i: i.token(iat=int(i.now + LEEWAY_SECONDS) + 1),
    "no subject": lambda i: i.token(sub=None),
    "an empty subject": lambda i: i.token(sub=""),
    "a subject that is no text": lambda i: i.token(sub=7),
    "a subject that is half a character": lambda i: i.token(sub="\ud800"),
    "a name that is no text": lambda i: i.token(jti=7),
    "an endless name": lambda i: i.token(jti="x" * 513),
    "an id token": lambda i: i.token(headers={"typ": "id+jwt"}),
    "a logout token": lambda i: i.token(headers={"typ": "logout+jwt"}),
    "without a type": lambda i: i.token(headers={"typ": None}),
    "other claims under a good signature": resigned(1, '"beta"', '"ALPHA"'),
    "another header over a good signature": resigned(0, "at+jwt", "jwt   "),
    "an agent id that is none": lambda i: i.token(agent="not an id"),
    "agents that are no list": lambda i: i.token(agent={"beta": True}),
    "agents that are no texts": lambda i: i.token(agent=["beta", 7]),
    "endless agents": lambda i: i.token(agent=[f"a{number}" for number in range(65)]),
    "scopes that are no list": lambda i: i.token(scope={"admin": True}),
    "encrypted": lambda i: raw({"alg": "RSA-OAEP", "enc": "A256GCM"}, b"", b"x") + ".x.x",
    "two parts": lambda i: i.token().rpartition(".")[0],
    "four parts": lambda i: i.token() + ".x",
    "no JSON": lambda i: raw(b"{", b"{", b"x"),
    "no object": lambda i: raw([], [], b"x"),
    "endless brackets": lambda i: raw(b"[" * 5_000, b"{}", b"x"),
    "endless digits": lambda i: raw(b'{"alg": ' + b"9" * 5_000 + b"}", b"{}", b"x"),
    "nothing": lambda i: "",
    "dots": lambda i: "..",
}


@pytest.mark.parametrize("name", FORGED)
async def test_a_forged_token_is_refused(jwts: Jwts, issuer: Issuer, name: str) -> None:
    await prove(jwts, issuer.token())  # all else is well
    with pytest.raises(Unauthenticated):
        await prove(jwts, FORGED[name](issuer))


async def test_a_refusal_repeats_nothing_of_the_token(jwts: Jwts, issuer: Issuer) -> None:
    for forge in FORGED.values():
        token = forge(issuer)
        with pytest.raises(Unauthenticated) as refusal:
            await prove(jwts, token)
        parts = [part for part in token.split(".") if len(part) > 8]
        assert not any(part in str(refusal.value) for part in parts)


async def test_only_what_is_allowed_is_an_algorithm(
    issuer: Issuer, store: CredentialStore, clock: ManualClock
) -> None:
    keys = KeySet(issuer.fetch, clock)
    jwts = Jwts(keys, store, clock, issuer=ISSUER, audience=AUDIENCE, algorithms=("ES256",))
    await prove(jwts, issuer.token("ec"))
    with pytest.raises(Unauthenticated, match="algorithm"):
        await prove(jwts, issuer.token("rsa"))


def test_no_algorithm_with_a_shared_key_can_be_allowed() -> None:
    assert not [name for name in ALL_ALGORITHMS if name.startswith("HS") or name == "none"]


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
async def test_a_weak_key_of_the_issuer_is_not_used(jwts: Jwts, issuer: Issuer) -> None:
    issuer.keys["rsa"] = rsa.generate_private_key(public_exponent=65_537, key_size=1_024)
    with pytest.raises(Unauthenticated):
        await prove(jwts, issuer.token())


# --- time -----------------------------------------------------------------------------------


async def test_a_clock_that_is_a_little_off_does_no_harm(
    jwts: Jwts, issuer: Issuer, clock: ManualClock
) -> None:
    early = issuer.token(nbf=int(issuer.now + LEEWAY_SECONDS), iat=int(issuer.now))
    await prove(jwts, early)
    token = issuer.token()
    clock.pass_by(600 + LEEWAY_SECONDS - 1)
    await prove(jwts, token)
    clock.pass_by(1)
    with pytest.raises(Unauthenticated, match="expired"):
        await prove(jwts, token)


# --- revocation -----------------------------------------------------------------------------


async def test_a_token_can_be_revoked_by_its_name(
    jwts: Jwts, issuer: Issuer, store: CredentialStore
) -> None:
    await Revocations(store).revoke("token-1")
    with pytest.raises(Unauthenticated, match="revoked"):
        await prove(jwts, issuer.token())
    await prove(jwts, issuer.token(jti="token-2"))
    await prove(jwts, issuer.token(jti=None))


@pytest.mark.parametrize("jti", ["", "x" * 513])
async def test_what_names_no_token_cannot_be_revoked(store: CredentialStore, jti: str) -> None:
    with pytest.raises(Invalid):
        await Revocations(store).revoke(jti)
