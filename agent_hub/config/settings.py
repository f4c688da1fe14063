"""All that can be set, and what must be so between one setting and another."""

import socket
from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from agent_hub.config.backends import (
    BACKENDS,
    DEFAULT_REDIS,
    Backend,
    default_path,
    is_redis,
    real_path,
    sqlite_path,
)
from agent_hub.config.faults import fault
from agent_hub.config.secret_files import from_files
from agent_hub.config.values import (
    MAX_RATE,
    Algorithms,
    FilePath,
    Host,
    Issuer,
    KeysPlace,
    LogLevel,
    Methods,
    Networks,
    Origins,
    People,
    PublicUrl,
    Rate,
)
from agent_hub.config.variables import (
    ENCODING,
    ENV_FILE,
    OLDER_NAMES,
    PREFIX,
    flag_name,
    variables,
)
from agent_hub.core.network import is_this_machine

DAY = 86_400.0
MAX_WORKERS = 64
WAYS_IN = "use `--auth token` (and make one with `agent-hub token create --agent NAME`)"


class Settings(BaseSettings):
    """All that can be set. Each field is a flag of `serve` and an AGENT_HUB_ variable."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=ENV_FILE,
        env_file_encoding=ENCODING,
        # `AGENT_HUB_HOST=` in a compose file means "not set"; bound to, it is every interface.
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        str_strip_whitespace=True,
    )

    listens: ClassVar[bool] = True
    """Whether these are to start a hub: then they must also be safe for one, and whole."""

    host: Host = Field(default="127.0.0.1", description="address to listen on")
    port: int = Field(
        default=8080, ge=0, le=65_535, description="port to listen on; 0 takes a free one"
    )
    backend: Backend = Field(
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
    rate_limit: Rate = Field(
        default=10.0,
        description="requests per second and agent, 0.001 to 1000000; 0 turns it off",
    )
    rate_burst: int = Field(
        default=20,
        ge=1,
        le=MAX_RATE,
        description="requests that an agent may make at once, 1 to 1000000",
    )
    rate_limit_scope: Literal["node", "shared"] = Field(
        default="node",
        description="whether each process counts requests for itself, or all together in Redis",
    )
    overflow: Literal["refuse", "drop-oldest"] = Field(
        default="refuse", description="what a full inbox does with a new message"
    )
    cors_origin: Origins = Field(
        default=(),
        description="web origin that may call the hub; repeat it or separate with commas",
    )
    log_level: LogLevel = Field(default="info", description="least severe level to log")
    auth: Methods = Field(
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
    jwt_jwks: KeysPlace = Field(
        default="", description="with jwt: the issuer's public keys, an https:// address or a file"
    )
    jwt_algorithms: Algorithms = Field(
        default=("RS256", "PS256", "ES256", "EdDSA"),
        description="with jwt: the signatures that are accepted",
    )
    jwt_agent_claim: str = Field(
        default="agent", description="with jwt: the claim that names the agent, or a list of them"
    )
    jwt_scope_claim: str = Field(
        default="scope", description="with jwt: the claim that names the scopes"
    )
    public_url: PublicUrl = Field(
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
    oidc_issuer: Issuer = Field(
        default="", description="with oauth: an OpenID provider that says who a person is"
    )
    oidc_client_id: str = Field(default="", description="with oidc-issuer: the hub's name there")
    oidc_client_secret: str = Field(
        default="",
        description="with oidc-issuer: the hub's secret there, if it has one",
        repr=False,
    )
    oidc_allow: People = Field(
        default=(),
        description="with oidc-issuer: who may sign in: an address, a @domain, sub:SUBJECT, or *"
        " for everybody there; repeat it or separate with commas",
    )
    audit_log: FilePath = Field(
        default="", description="file for a record of who did what to whom; never what was said"
    )
    metrics_open: bool = Field(
        default=False, description="show /metrics also to those who show no credential"
    )
    tls_cert: str = Field(
        default="", description="file with the certificate for https:// and its chain, in PEM"
    )
    tls_key: str = Field(default="", description="file with its private key, in PEM")
    trusted_proxy: Networks = Field(
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
        return is_this_machine(self.host)

    @property
    def sqlite_path(self) -> Path | None:
        """The database's own absolute path, behind any links; None for another backend."""
        named = sqlite_path(self.backend)
        return None if named is None else real_path(named)

    @property
    def redis_url(self) -> str | None:
        """Where Redis is, credentials and all; None for another backend. Never to be shown."""
        return self.backend if is_redis(self.backend) else None

    @property
    def credentials_path(self) -> Path:
        """Where tokens and revocations are: beside the messages, but in a file of their own."""
        messages = sqlite_path(self.backend) or default_path()
        return messages.with_name(f"{messages.stem}.credentials.db")

    @field_validator("workers")
    @classmethod
    def _shared_port(cls, workers: int, info: ValidationInfo) -> int:
        if workers > 1:
            if not is_redis(info.data.get("backend", DEFAULT_REDIS)):  # or its own fault is told
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
        if scope == "shared" and not is_redis(info.data.get("backend", DEFAULT_REDIS)):
            raise ValueError(
                "requests can only be counted together in Redis;"
                " use `--backend redis://…`, or the scope node"
            )
        return scope

    @model_validator(mode="after")
    def _open_only_on_purpose(self) -> Self:
        if self.auth or self.insecure or not self.listens:
            return self
        if not self.is_loopback:
            raise fault(
                "host",
                f"{self.host} can be reached from other machines and no authentication is"
                f" configured; {WAYS_IN}, or `--host 127.0.0.1`, or `--insecure` to take that risk",
            )
        if self.trusted_proxy:
            raise fault(
                "trusted_proxy",
                "a proxy lets other machines in and no authentication is configured;"
                f" {WAYS_IN}, or `--insecure` to take that risk",
            )
        return self

    @model_validator(mode="after")
    def _whole_certificate(self) -> Self:
        if bool(self.tls_cert) != bool(self.tls_key):
            given = "tls_cert" if self.tls_cert else "tls_key"
            raise fault(given, "a certificate and its key are needed together")
        return self

    @model_validator(mode="after")
    def _whole_issuer(self) -> Self:
        needed = ("jwt_issuer", "jwt_audience", "jwt_jwks")
        missing = [flag_name(name) for name in needed if not getattr(self, name)]
        if self.listens and "jwt" in self.auth and missing:
            raise fault("auth", f"jwt needs {' and '.join(missing)} too")
        return self

    @model_validator(mode="after")
    def _known_by_one_name(self) -> Self:
        reachable = not self.is_loopback or self.trusted_proxy
        if self.listens and "oauth" in self.auth and reachable and not self.public_url:
            raise fault(
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
            raise fault("oidc_issuer", "people sign in only with `--auth oauth`")
        needed = ("oidc_client_id", "oidc_allow")
        missing = [flag_name(name) for name in needed if not getattr(self, name)]
        if missing:
            raise fault("oidc_issuer", f"it needs {' and '.join(missing)} too")
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
        said = variables()
        secrets = from_files(secret_fields(), said)
        older = {field: said[name] for name, field in OLDER_NAMES.items() if said.get(name)}
        return (
            init_settings,
            env_settings,
            dotenv_settings,
            InitSettingsSource(settings_cls, init_kwargs=secrets),
            InitSettingsSource(settings_cls, init_kwargs=older),
        )


class SettingsBesideAHub(Settings):
    """Those of a command that only looks for the store of a hub.

    The hub itself may have got the rest as flags, as in a container.
    """

    listens: ClassVar[bool] = False


def secret_fields() -> list[str]:
    """What may hold a secret: it is never shown whole, and may stand in a file of its own."""
    return [name for name, field in Settings.model_fields.items() if not field.repr]
