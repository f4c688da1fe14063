"""The settings: flags over the environment over `.env` over defaults."""

import difflib
import ipaddress
import re
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self
from urllib.parse import urlsplit

from platformdirs import user_state_path
from pydantic import (
    BeforeValidator,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

PREFIX = "AGENT_HUB_"
ENV_FILE = ".env"
IN_A_FILE = "_FILE"
FOR_CLIENTS = ("TOKEN",)
"""What the hub's clients read: it may stand where a hub starts."""
"""What ends the name of a variable that says in which file a secret stands."""
DAY = 86_400.0

# Names from before the prefix. An AGENT_HUB_ name wins over them wherever it stands.
OLDER_NAMES = {
    "MCP_SERVER_HOST": "host",
    "MCP_SERVER_PORT": "port",
    "LOG_LEVEL": "log_level",
    "QUEUE_BACKEND": "backend",
}

BACKENDS = ("memory", "sqlite", "sqlite:///path", "redis", "redis://host:port/db", "rediss://…")
SQLITE = "sqlite:///"
DATABASE = "agent-hub.db"
REDIS_PLACES = {
    "redis": re.compile(r"(/\d*)?"),
    "rediss": re.compile(r"(/\d*)?"),
    "unix": re.compile(r"/.+"),
}
"""The path in a URL of each scheme: the number of a database, or a socket's place."""
REDIS_URL = "REDIS_URL"
"""The older variable that says where the backend named plainly `redis` is."""
DEFAULT_REDIS = "redis://127.0.0.1:6379/0"
MAX_WORKERS = 64
NO_METHOD = "none"
METHODS = ("token", "jwt", "oauth")
"""The ways to prove who calls."""
ALGORITHMS = (
    "RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 ES512 EdDSA".split()  # noqa: SIM905
)
"""Signatures by a private key; one that is shared with the issuer would be a secret too many."""
WAYS_IN = "use `--auth token` (and make one with `agent-hub token create --agent NAME`)"
ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^\s/?#@*,]+", re.IGNORECASE)


class SettingsError(Exception):
    """The hub cannot start like this. The text is one line that names the variable or flag."""


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _split(value: object) -> object:
    """One variable holds a comma-separated list, a repeated flag a list of such."""
    parts = [value] if isinstance(value, str) else value
    if not isinstance(parts, list | tuple):
        return value
    return tuple(item for part in parts for item in str(part).replace(",", " ").split())


def _fault(field: str, text: str) -> PydanticCustomError:
    """Of a rule over several fields, told of the one that is to be changed."""
    return PydanticCustomError("rule", "{text}", {"field": field, "text": text})


class Settings(BaseSettings):
    """All that can be set. Each field is a flag of `serve` and an AGENT_HUB_ variable."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=ENV_FILE,
        env_file_encoding="utf-8",
        # `AGENT_HUB_HOST=` in a compose file means "not set"; bound to, it is every interface.
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        str_strip_whitespace=True,
    )

    listens: ClassVar[bool] = True
    """Whether these are to start a hub: then they must also be safe for one, and whole."""

    host: str = Field(default="127.0.0.1", min_length=1, description="address to listen on")
    port: int = Field(
        default=8080, ge=0, le=65_535, description="port to listen on; 0 takes a free one"
    )
    backend: str = Field(
        default="sqlite",
        description=f"where messages are kept: {', '.join(BACKENDS)}",
        repr=False,  # it may hold a password
    )
    redis_password: str = Field(
        default="",
        description="the password for Redis, if it is not in the URL; `agent-hub secret encrypt`"
        " makes one that may lie about",
        repr=False,
    )
    secret_key: str = Field(
        default="", description="the key that opens what was encrypted", repr=False
    )
    workers: int = Field(
        default=1,
        ge=1,
        le=MAX_WORKERS,
        description="processes that share the port; more than one needs Redis",
    )
    message_ttl: float = Field(
        default=300.0,
        ge=1,
        le=7 * DAY,
        allow_inf_nan=False,
        description="seconds until an unread message expires, 1 to 604800",
    )
    rate_limit: float = Field(
        default=10.0,
        ge=0,
        allow_inf_nan=False,
        description="requests per second and agent; 0 turns it off",
    )
    rate_burst: int = Field(default=20, ge=1, description="requests that an agent may make at once")
    rate_limit_scope: Literal["node", "shared"] = Field(
        default="node",
        description="whether each process counts requests for itself, or all together in Redis",
    )
    overflow: Literal["refuse", "drop-oldest"] = Field(
        default="refuse", description="what a full inbox does with a new message"
    )
    cors_origin: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)] = Field(
        default=(),
        description="web origin that may call the hub; repeat it or separate with commas",
    )
    log_level: Annotated[
        Literal["debug", "info", "warning", "error", "critical"], BeforeValidator(_lower)
    ] = Field(default="info", description="least severe level to log")
    auth: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)] = Field(
        default=(),
        description="how callers prove who they are: none (the default on this machine alone),"
        " or any of token, jwt, oauth, separated by commas",
    )
    insecure: bool = Field(
        default=False,
        description="listen beyond this machine without authentication, at your own risk",
    )
    jwt_issuer: str = Field(default="", description="with jwt: who signs the tokens, as in `iss`")
    jwt_audience: str = Field(default="", description="with jwt: who they must be for, as in `aud`")
    jwt_jwks: str = Field(
        default="", description="with jwt: the issuer's public keys, an https:// address or a file"
    )
    jwt_algorithms: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)] = Field(
        default=("RS256", "PS256", "ES256", "EdDSA"),
        description="with jwt: the signatures that are accepted",
    )
    jwt_agent_claim: str = Field(
        default="agent", description="with jwt: the claim that names the agent, or a list of them"
    )
    jwt_scope_claim: str = Field(
        default="scope", description="with jwt: the claim that names the scopes"
    )
    public_url: str = Field(
        default="",
        description="with oauth: the hub's address as its clients know it, https://host[:port];"
        " needed beyond this machine",
    )
    oauth_algorithm: Literal["ES256", "EdDSA", "RS256", "HS256"] = Field(
        default="ES256", description="with oauth: how the hub signs its tokens"
    )
    oauth_client_documents: bool = Field(
        default=True,
        description="with oauth: know programs by documents that the hub fetches from their sites",
    )
    oauth_dynamic_registration: bool = Field(
        default=False, description="with oauth: let programs register themselves (RFC 7591)"
    )
    oidc_issuer: str = Field(
        default="", description="with oauth: an OpenID provider that says who a person is"
    )
    oidc_client_id: str = Field(default="", description="with oidc-issuer: the hub's name there")
    oidc_client_secret: str = Field(
        default="",
        description="with oidc-issuer: the hub's secret there, if it has one",
        repr=False,
    )
    oidc_allow: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)] = Field(
        default=(),
        description="with oidc-issuer: who may sign in: an address, a @domain, sub:SUBJECT, or *"
        " for everybody there; repeat it or separate with commas",
    )
    audit_log: str = Field(
        default="", description="file for a record of who did what to whom; never what was said"
    )
    metrics_open: bool = Field(
        default=False, description="show /metrics also to those who show no credential"
    )
    tls_cert: str = Field(
        default="", description="file with the certificate for https:// and its chain, in PEM"
    )
    tls_key: str = Field(default="", description="file with its private key, in PEM")
    trusted_proxy: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)] = Field(
        default=(),
        description="address or network of a proxy that may say whom it speaks for; repeat it or"
        " separate with commas",
    )
    forwarded_header: Literal["x-forwarded-for", "forwarded"] = Field(
        default="x-forwarded-for", description="the one header in which such a proxy says it"
    )

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the hub."""
        if self.host.lower() == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def sqlite_path(self) -> Path | None:
        """The database's absolute path; None for another backend.

        `sqlite:///` is followed by the path as one would type it: `sqlite:///hub.db` is in the
        working directory, `sqlite:////var/lib/hub.db` is absolute.
        """
        if self.backend == "sqlite":
            return user_state_path("agent-hub", appauthor=False) / DATABASE
        if self.backend.startswith(SQLITE):
            return Path(self.backend.removeprefix(SQLITE)).expanduser().absolute()
        return None

    @property
    def redis_url(self) -> str | None:
        """Where Redis is, credentials and all; None for another backend. Never to be shown."""
        return self.backend if _is_redis(self.backend) else None

    @property
    def credentials_path(self) -> Path:
        """Where tokens and revocations are: beside the messages, but in a file of their own."""
        messages = self.sqlite_path or user_state_path("agent-hub", appauthor=False) / DATABASE
        return messages.with_name(f"{messages.stem}.credentials.db")

    @field_validator("auth")
    @classmethod
    def _known_methods(cls, methods: tuple[str, ...]) -> tuple[str, ...]:
        methods = tuple(dict.fromkeys(method.lower() for method in methods))
        for method in methods:
            if method not in (NO_METHOD, *METHODS):
                raise ValueError(f"{method!r} is none of {', '.join((NO_METHOD, *METHODS))}")
        if NO_METHOD in methods and len(methods) > 1:
            raise ValueError("none is all or nothing")
        return () if methods == (NO_METHOD,) else methods

    @field_validator("jwt_algorithms")
    @classmethod
    def _known_algorithms(cls, algorithms: tuple[str, ...]) -> tuple[str, ...]:
        for algorithm in algorithms:
            if algorithm not in ALGORITHMS:
                raise ValueError(f"{algorithm!r} is none of {', '.join(ALGORITHMS)}")
        return algorithms

    @field_validator("jwt_jwks")
    @classmethod
    def _keys_not_in_the_clear(cls, where: str) -> str:
        parts = urlsplit(where)
        is_local = parts.scheme == "http" and parts.hostname in ("localhost", "127.0.0.1", "::1")
        if parts.scheme != "https" and "://" in where and not is_local:
            raise ValueError("the keys must come by https://, or from a file")
        return where

    @field_validator("public_url")
    @classmethod
    def _whole_origin(cls, url: str) -> str:
        url = url.lower().removesuffix("/")
        if not url:
            return url
        parts = urlsplit(url)
        is_local = parts.scheme == "http" and _is_local_name(parts.hostname)
        if not ORIGIN.fullmatch(url) or not (parts.scheme == "https" or is_local):
            raise ValueError("write https://host[:port], without a path")
        return url

    @field_validator("oidc_issuer")
    @classmethod
    def _issuer_not_in_the_clear(cls, issuer: str) -> str:
        parts = urlsplit(issuer)
        is_local = parts.scheme == "http" and _is_local_name(parts.hostname)
        if issuer and not (parts.scheme == "https" or is_local):
            raise ValueError("write the issuer's https:// address, as it stands in its tokens")
        return issuer

    @field_validator("oidc_allow")
    @classmethod
    def _known_people(cls, allowed: tuple[str, ...]) -> tuple[str, ...]:
        for one in allowed:
            if one != "*" and "@" not in one and not one.startswith("sub:"):
                raise ValueError(f"{one!r} is no address, @domain, sub:SUBJECT, or *")
        return allowed

    @field_validator("trusted_proxy")
    @classmethod
    def _networks(cls, proxies: tuple[str, ...]) -> tuple[str, ...]:
        for proxy in proxies:
            try:
                ipaddress.ip_network(proxy)
            except ValueError:
                raise ValueError(f"{proxy!r} is no address and no network") from None
        return proxies

    @field_validator("host")
    @classmethod
    def _without_brackets(cls, host: str) -> str:
        return host[1:-1] if host.startswith("[") and host.endswith("]") else host

    @field_validator("backend")
    @classmethod
    def _known_backend(cls, backend: str) -> str:
        # The refused value is not repeated: a URL may hold a password.
        if backend == "redis":
            return _checked_redis(
                _variables().get(REDIS_URL) or DEFAULT_REDIS, "what REDIS_URL says"
            )
        if _is_redis(backend):
            return _checked_redis(backend, "this")
        is_path = backend.startswith(SQLITE) and backend != SQLITE
        if not (is_path or backend in ("memory", "sqlite")):
            raise ValueError(f"this backend is not available; available: {', '.join(BACKENDS)}")
        return backend

    @field_validator("workers")
    @classmethod
    def _shared_port(cls, workers: int, info: ValidationInfo) -> int:
        if workers > 1:
            if not _is_redis(info.data.get("backend", DEFAULT_REDIS)):  # or its own fault is told
                raise ValueError(
                    "several processes can only share the messages in Redis;"
                    " use `--backend redis://…`, or one worker"
                )
            if not hasattr(socket, "SO_REUSEPORT"):
                raise ValueError("processes cannot share a port on this system; use one worker")
        return workers

    @field_validator("rate_limit_scope")
    @classmethod
    def _shared_counts(cls, scope: str, info: ValidationInfo) -> str:
        if scope == "shared" and not _is_redis(info.data.get("backend", DEFAULT_REDIS)):
            raise ValueError(
                "requests can only be counted together in Redis;"
                " use `--backend redis://…`, or the scope node"
            )
        return scope

    @field_validator("cors_origin")
    @classmethod
    def _exact_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        origins = tuple(origin.lower().removesuffix("/") for origin in origins)
        for origin in origins:
            if not ORIGIN.fullmatch(origin):
                raise ValueError(
                    f"{origin!r} is not an origin; write scheme://host[:port], one for each page"
                )
        return origins

    @model_validator(mode="after")
    def _open_only_on_purpose(self) -> Self:
        if self.auth or self.insecure or not self.listens:
            return self
        if not self.is_loopback:
            raise _fault(
                "host",
                f"{self.host} can be reached from other machines and no authentication is"
                f" configured; {WAYS_IN}, or `--host 127.0.0.1`, or `--insecure` to take that risk",
            )
        if self.trusted_proxy:
            raise _fault(
                "trusted_proxy",
                "a proxy lets other machines in and no authentication is configured;"
                f" {WAYS_IN}, or `--insecure` to take that risk",
            )
        return self

    @model_validator(mode="after")
    def _whole_certificate(self) -> Self:
        if bool(self.tls_cert) != bool(self.tls_key):
            given = "tls_cert" if self.tls_cert else "tls_key"
            raise _fault(given, "a certificate and its key are needed together")
        return self

    @model_validator(mode="after")
    def _whole_issuer(self) -> Self:
        needed = ("jwt_issuer", "jwt_audience", "jwt_jwks")
        missing = [flag_name(name) for name in needed if not getattr(self, name)]
        if self.listens and "jwt" in self.auth and missing:
            raise _fault("auth", f"jwt needs {' and '.join(missing)} too")
        return self

    @model_validator(mode="after")
    def _known_by_one_name(self) -> Self:
        reachable = not self.is_loopback or self.trusted_proxy
        if self.listens and "oauth" in self.auth and reachable and not self.public_url:
            raise _fault(
                "auth",
                "oauth beyond this machine needs the address by which clients know the hub;"
                " set `--public-url https://host`",
            )
        return self

    @model_validator(mode="after")
    def _whole_identity_provider(self) -> Self:
        if not (self.listens and self.oidc_issuer):
            return self
        if "oauth" not in self.auth:
            raise _fault("oidc_issuer", "people sign in only with `--auth oauth`")
        needed = ("oidc_client_id", "oidc_allow")
        missing = [flag_name(name) for name in needed if not getattr(self, name)]
        if missing:
            raise _fault("oidc_issuer", f"it needs {' and '.join(missing)} too")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        variables = _variables()
        files = InitSettingsSource(settings_cls, init_kwargs=_from_files(variables))
        older = InitSettingsSource(settings_cls, init_kwargs=_older_settings(variables))
        return init_settings, env_settings, dotenv_settings, files, older


class SettingsBesideAHub(Settings):
    """Those of a command that only looks for the store of a hub.

    The hub itself may have got the rest as flags, as in a container.
    """

    listens: ClassVar[bool] = False


def _is_local_name(host: str | None) -> bool:
    return host in ("localhost", "127.0.0.1", "::1")


def _is_redis(backend: str) -> bool:
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


def load(flags: Mapping[str, Any], kind: type[Settings] = Settings) -> Settings:
    """The settings of this process. `flags` holds what the command line named, by field."""
    variables = _readable_variables()
    _refuse_unknown(variables)
    try:
        return kind(**flags)
    except ValidationError as error:
        raise SettingsError(_one_line(error, flags, variables)) from None


def _readable_variables() -> dict[str, str | None]:
    try:
        return _variables()
    except UnicodeDecodeError:
        raise SettingsError(f"{ENV_FILE}: not UTF-8 text") from None
    except OSError as error:
        raise SettingsError(f"{ENV_FILE}: {error.strerror}") from None


def _variables() -> dict[str, str | None]:
    """What `.env` and the environment say, by upper-case name."""
    return {**variables_of_file(), **variables_of_environment()}


def variables_of_file() -> dict[str, str | None]:
    """What `.env` says, by upper-case name."""
    return _upper(DotEnvSettingsSource(Settings, env_ignore_empty=False).env_vars)


def variables_of_environment() -> dict[str, str | None]:
    """What the environment says, by upper-case name."""
    return _upper(EnvSettingsSource(Settings, env_ignore_empty=False).env_vars)


def _upper(variables: Mapping[str, str | None]) -> dict[str, str | None]:
    return {name.upper(): value for name, value in variables.items()}


def secret_fields() -> list[str]:
    """What may hold a secret: it is never shown whole, and may stand in a file of its own."""
    return [name for name, field in Settings.model_fields.items() if not field.repr]


def _from_files(variables: Mapping[str, str | None]) -> dict[str, str]:
    """The secrets that stand in files. Raises SettingsError."""
    named = {field: _variable_name(field) + IN_A_FILE for field in secret_fields()}
    return {
        field: _secret(name, Path(path), variables)
        for field, name in named.items()
        if (path := variables.get(name))
    }


def _secret(name: str, path: Path, variables: Mapping[str, str | None]) -> str:
    plain = name.removesuffix(IN_A_FILE)
    if variables.get(plain):
        raise SettingsError(f"{name}: {plain} is set too; keep one of them")
    try:
        secret = path.read_text(encoding="utf-8").strip()
    except UnicodeDecodeError:
        raise SettingsError(f"{name}: {path} is not UTF-8 text") from None
    except OSError as error:
        raise SettingsError(f"{name}: {path}: {error.strerror}") from None
    if not secret:
        raise SettingsError(f"{name}: {path} is empty")
    return secret


def _older_settings(variables: Mapping[str, str | None]) -> dict[str, Any]:
    return {field: variables[name] for name, field in OLDER_NAMES.items() if variables.get(name)}


def _variable_name(field: str) -> str:
    return PREFIX + field.upper()


def _refuse_unknown(variables: Mapping[str, str | None]) -> None:
    known = [field.upper() for field in Settings.model_fields]
    known += [field.upper() + IN_A_FILE for field in secret_fields()] + list(FOR_CLIENTS)
    for name in sorted(variables):
        bare = name.removeprefix(PREFIX)
        if bare != name and bare not in known:
            near = difflib.get_close_matches(bare, known, n=1)
            hint = f"; did you mean {PREFIX}{near[0]}?" if near else ""
            raise SettingsError(f"{name}: no such setting{hint}")


def _one_line(
    error: ValidationError, flags: Mapping[str, Any], variables: Mapping[str, str | None]
) -> str:
    fault = error.errors(include_url=False, include_input=False)[0]
    field = str(fault["loc"][0] if fault["loc"] else fault["ctx"]["field"])
    text = fault["msg"].removeprefix("Value error, ")
    return f"{_origin(field, flags, variables)}: {text[:1].lower()}{text[1:]}"


def _origin(field: str, flags: Mapping[str, Any], variables: Mapping[str, str | None]) -> str:
    """The flag or variable that the value of this field came from, as its writer knows it."""
    if field in flags:
        return flag_name(field)
    return next((name for name in variable_names(field) if variables.get(name)), flag_name(field))


def variable_names(field: str) -> list[str]:
    """All variables that set a field; the first that is set wins."""
    name = _variable_name(field)
    files = [name + IN_A_FILE] if field in secret_fields() else []
    return [name, *files, *(old for old, new in OLDER_NAMES.items() if new == field)]


def flag_name(field: str) -> str:
    """The flag of a field: `message_ttl` is set by `--message-ttl`."""
    return "--" + field.replace("_", "-")
