"""Where settings come from, and what stops a start."""

import re
import socket
from pathlib import Path
from typing import Any

import pytest

from agent_hub.config import DEFAULT_REDIS, Settings, SettingsError, load, secret_fields

pytestmark = pytest.mark.usefixtures("elsewhere")


def refusal(**flags: Any) -> str:
    with pytest.raises(SettingsError) as caught:
        load(flags)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_without_any_setting_the_defaults_are_safe_and_local() -> None:
    assert load({}).model_dump() == {
        "host": "127.0.0.1",
        "port": 8080,
        "backend": "sqlite",
        "redis_password": "",
        "secret_key": "",
        "workers": 1,
        "message_ttl": 300.0,
        "rate_limit": 10.0,
        "rate_burst": 20,
        "rate_limit_scope": "node",
        "overflow": "refuse",
        "cors_origin": (),
        "log_level": "info",
        "auth": (),
        "insecure": False,
        "jwt_issuer": "",
        "jwt_audience": "",
        "jwt_jwks": "",
        "jwt_algorithms": ("RS256", "PS256", "ES256", "EdDSA"),
        "jwt_agent_claim": "agent",
        "jwt_scope_claim": "scope",
        "public_url": "",
        "oauth_algorithm": "ES256",
        "oauth_client_documents": True,
        "oauth_dynamic_registration": False,
        "oidc_issuer": "",
        "oidc_client_id": "",
        "oidc_client_secret": "",
        "oidc_allow": (),
        "audit_log": "",
        "metrics_open": False,
        "tls_cert": "",
        "tls_key": "",
        "trusted_proxy": (),
        "forwarded_header": "x-forwarded-for",
    }


def test_a_flag_wins_over_the_environment_and_the_environment_over_the_file(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (elsewhere / ".env").write_text(
        "AGENT_HUB_PORT=1\nAGENT_HUB_RATE_BURST=1\nAGENT_HUB_HOST=::1\n"
    )
    monkeypatch.setenv("AGENT_HUB_PORT", "2")
    monkeypatch.setenv("AGENT_HUB_RATE_BURST", "2")
    settings = load({"port": "3"})
    assert (settings.port, settings.rate_burst, settings.host) == (3, 2, "::1")


@pytest.mark.parametrize(
    ("name", "field", "value", "expected"),
    [
        ("MCP_SERVER_HOST", "host", "localhost", "localhost"),
        ("MCP_SERVER_PORT", "port", "9000", 9000),
        ("LOG_LEVEL", "log_level", "WARNING", "warning"),
        ("QUEUE_BACKEND", "backend", "memory", "memory"),
    ],
)
def test_an_older_name_still_works(
    name: str, field: str, value: str, expected: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    assert getattr(load({}), field) == expected


def test_an_older_name_in_the_file_still_works(elsewhere: Path) -> None:
    (elsewhere / ".env").write_text("MCP_SERVER_PORT=9000\n")
    assert load({}).port == 9000


def test_a_prefixed_name_wins_over_an_older_one_wherever_they_stand(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (elsewhere / ".env").write_text("AGENT_HUB_PORT=1\n")
    monkeypatch.setenv("MCP_SERVER_PORT", "2")
    assert load({}).port == 1


def test_a_name_without_the_prefix_sets_nothing(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (elsewhere / ".env").write_text("HOST=0.0.0.0\nport=1\nDATABASE_URL=x\n")
    monkeypatch.setenv("PORT", "2")
    assert load({}) == Settings()
    assert load({}).port == 8080


def test_an_empty_variable_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENT_HUB_HOST", "")
    monkeypatch.setenv("AGENT_HUB_PORT", "")
    assert load({}) == Settings()
    assert load({}).host == "127.0.0.1"


def test_an_unknown_agent_hub_variable_stops_the_start_with_one_line_naming_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AGENT_HUB_PROT", "9000")
    assert refusal() == "AGENT_HUB_PROT: no such setting; did you mean AGENT_HUB_PORT?"


@pytest.mark.parametrize("line", ["AGENT_HUB_XYZZY=red", "AGENT_HUB_XYZZY=", "AGENT_HUB_XYZZY"])
def test_an_unknown_agent_hub_key_in_the_file_stops_the_start_even_if_it_is_empty(
    line: str, elsewhere: Path
) -> None:
    (elsewhere / ".env").write_text(line + "\n")
    assert refusal() == "AGENT_HUB_XYZZY: no such setting"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("host", " "),
        ("host", "hub..example"),
        ("host", "x" * 64),
        ("port", "80a"),
        ("port", "65536"),
        ("port", "-1"),
        ("backend", "postgres"),
        ("backend", "sqlite:////"),
        ("backend", "sqlite:///~nobody-of-that-name/hub.db"),
        ("backend", "redis:"),
        ("backend", "redis://[::1"),
        ("backend", "redis://127.0.0.1/mail"),
        ("backend", "unix://"),
        ("workers", "0"),
        ("workers", "65"),
        ("workers", "2"),
        ("message_ttl", "0.9"),
        ("message_ttl", "604801"),
        ("message_ttl", "nan"),
        ("rate_limit", "-1"),
        ("rate_limit", "inf"),
        ("rate_limit", "0.0009"),
        ("rate_limit", "1000001"),
        ("rate_burst", "0"),
        ("rate_burst", "1000001"),
        ("rate_limit_scope", "cluster"),
        ("rate_limit_scope", "shared"),
        ("overflow", "explode"),
        ("cors_origin", "*"),
        ("cors_origin", "null"),
        ("cors_origin", "http://a.example/path"),
        ("cors_origin", "http://user:pw@a.example"),
        ("log_level", "loud"),
        ("auth", "password"),
        ("public_url", "http://hub.example"),
        ("public_url", "https://hub.example/hub"),
        ("public_url", "hub.example"),
        ("oauth_algorithm", "none"),
        ("oidc_issuer", "http://id.example"),
        ("oidc_issuer", "https://id.example"),
        ("oidc_allow", "ada"),
        ("auth", "token,none"),
        ("auth", "jwt"),
        ("jwt_algorithms", "HS256"),
        ("jwt_algorithms", "none"),
        ("jwt_jwks", "http://issuer.example/keys"),
        ("tls_key", "key.pem"),
        ("trusted_proxy", "proxy.example"),
        ("trusted_proxy", "10.0.0.0/8"),
        ("forwarded_header", "x-real-ip"),
        ("audit_log", "/"),
        ("audit_log", "~nobody-of-that-name/audit.log"),
        ("insecure", "perhaps"),
    ],
)
def test_a_bad_value_is_refused_by_the_name_its_writer_used(
    field: str, value: str, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flag, variable = "--" + field.replace("_", "-"), "AGENT_HUB_" + field.upper()
    assert refusal(**{field: value}).startswith(f"{flag}: ")
    (elsewhere / ".env").write_text(f"{variable}='{value}'\n")
    assert refusal().startswith(f"{variable}: ")
    (elsewhere / ".env").unlink()
    monkeypatch.setenv(variable, value)
    assert refusal().startswith(f"{variable}: ")


def test_a_bad_value_under_an_older_name_is_refused_by_that_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MCP_SERVER_PORT", "http")
    assert refusal().startswith("MCP_SERVER_PORT: ")


def test_a_backend_that_is_not_there_is_refused_with_those_that_are_and_without_its_password() -> (
    None
):
    text = refusal(backend="mongodb://:hunter2@db.example:27017")
    assert text == (
        "--backend: this backend is not available; available: memory, sqlite, sqlite:///path,"
        " redis, redis://host:port/db, rediss://…"
    )


@pytest.mark.parametrize(
    "url",
    [
        "redis://127.0.0.1",
        "redis://hub:p%40ss@redis.example:6380/3",
        "rediss://:secret@redis.example/0",
        "redis://[::1]:6379/0?socket_timeout=1",
        "unix:///run/redis/redis.sock?db=1",
        "unix://:secret@/run/redis.sock",
    ],
)
def test_redis_is_named_by_its_url(url: str) -> None:
    settings = load({"backend": url})
    assert settings.redis_url == url
    assert settings.sqlite_path is None


def test_another_store_has_no_redis_url() -> None:
    assert load({"backend": "memory"}).redis_url is None
    assert load({}).redis_url is None


def test_plain_redis_is_where_the_older_variable_says_or_on_this_machine(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load({"backend": "redis"}).redis_url == DEFAULT_REDIS
    (elsewhere / ".env").write_text("REDIS_URL=redis://in-file\nQUEUE_BACKEND=redis\n")
    assert load({}).redis_url == "redis://in-file"
    monkeypatch.setenv("REDIS_URL", "rediss://in-environment")
    assert load({}).redis_url == "rediss://in-environment"
    assert load({"backend": "redis://from-flag"}).redis_url == "redis://from-flag"


def test_a_redis_url_alone_chooses_no_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "not even one")
    assert load({}).backend == "sqlite"


@pytest.mark.parametrize(
    "url",
    [
        "redis://:hunter2/x@redis.example:6379",
        "redis://:hunter2#x@redis.example:6379",
        "redis://:0hunter2:x@redis.example:hunter2",
        "redis://:1/hunter2@redis.example:6379/0",
    ],
)
def test_a_password_that_breaks_its_url_is_not_repeated(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = refusal(backend=url)
    assert told.startswith("--backend: this is not a Redis URL; write redis://user:password@")
    monkeypatch.setenv("REDIS_URL", url)
    older = refusal(backend="redis")
    assert older.startswith("--backend: what REDIS_URL says is not a Redis URL; write ")
    assert "hunter" not in told + older


def test_the_settings_do_not_show_the_password_of_redis() -> None:
    assert "hunter2" not in repr(load({"backend": "redis://:hunter2@redis.example"}))


@pytest.mark.parametrize("backend", ["memory", "sqlite"])
def test_several_processes_and_common_counts_need_redis(backend: str) -> None:
    assert refusal(backend=backend, workers="2") == (
        "--workers: several processes can only share the messages in Redis;"
        " use `--backend redis://…`, or one worker"
    )
    assert refusal(backend=backend, rate_limit_scope="shared") == (
        "--rate-limit-scope: requests can only be counted together in Redis;"
        " use `--backend redis://…`, or the scope node"
    )
    settings = load({"backend": "redis", "workers": "2", "rate_limit_scope": "shared"})
    assert (settings.workers, settings.rate_limit_scope) == (2, "shared")


def test_several_processes_need_a_system_where_they_can_share_a_port(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(socket, "SO_REUSEPORT")
    assert refusal(backend="redis", workers="2") == (
        "--workers: processes cannot share a port on this system; use one worker"
    )
    assert load({"backend": "redis"}).workers == 1


def test_of_a_wrong_backend_and_many_workers_the_backend_is_told() -> None:
    assert refusal(backend="postgres", workers="2").startswith("--backend: ")


def test_sqlite_is_a_file_in_the_state_folder_or_where_one_says(tmp_path: Path) -> None:
    assert load({"backend": "memory"}).sqlite_path is None
    usual = load({"backend": "sqlite"}).sqlite_path
    assert usual is not None
    assert (usual.is_absolute(), usual.name) == (True, "agent-hub.db")
    assert load({"backend": f"sqlite:///{tmp_path}/a.db"}).sqlite_path == tmp_path / "a.db"
    assert load({"backend": "sqlite:///mail/a.db"}).sqlite_path == Path.cwd() / "mail" / "a.db"
    assert refusal(backend="sqlite:///").startswith("--backend: ")


def test_a_store_behind_a_link_is_the_file_itself_and_its_credentials_stay_where_they_were(
    tmp_path: Path,
) -> None:
    (tmp_path / "link.db").symlink_to("disk/hub.db")
    settings = load({"backend": f"sqlite:///{tmp_path}/link.db"})
    assert settings.sqlite_path == tmp_path / "disk" / "hub.db"
    assert settings.credentials_path == tmp_path / "link.credentials.db"


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "192.168.1.5", "hub.example", "127.0.0.1.example"]
)
def test_a_host_that_others_can_reach_is_refused_with_what_to_do(host: str) -> None:
    text = refusal(host=host)
    assert text.startswith(f"--host: {host} ")
    assert "`--host 127.0.0.1`" in text
    assert "`--insecure`" in text


def test_a_host_that_others_can_reach_is_accepted_when_insecure_says_so() -> None:
    settings = load({"host": "0.0.0.0", "insecure": True})
    assert not settings.is_loopback


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.8.9.10", "::1", "[::1]", "localhost", "LocalHost"]
)
def test_a_loopback_host_needs_no_permission(host: str) -> None:
    assert load({"host": host}).is_loopback


def test_a_bracketed_address_is_the_address() -> None:
    assert load({"host": "[::1]"}).host == "::1"


def test_origins_are_separated_by_commas_in_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENT_HUB_CORS_ORIGIN", "https://a.example, http://B.example:3000/")
    assert load({}).cors_origin == ("https://a.example", "http://b.example:3000")


def test_origins_of_a_repeated_flag_add_up() -> None:
    flags = {"cors_origin": ["https://a.example", "https://b.example,https://c.example"]}
    assert len(load(flags).cors_origin) == 3


def test_a_file_that_is_not_text_stops_the_start_with_one_line(elsewhere: Path) -> None:
    (elsewhere / ".env").write_bytes(b"AGENT_HUB_PORT=\xff\xfe\n")
    assert refusal() == ".env: not UTF-8 text"


@pytest.mark.parametrize("line", ['AGENT_HUB_AUTH="token', "AGENT_HUB_AUTH: token", "'AGENT_HUB_"])
def test_a_line_of_the_hubs_that_cannot_be_read_stops_the_start(line: str, elsewhere: Path) -> None:
    (elsewhere / ".env").write_text(f"PORT=1\n{line}\nAGENT_HUB_PORT=1\n")
    assert refusal() == ".env: line 2 is not NAME=value, or ends amiss"


def test_a_line_of_others_that_cannot_be_read_stops_nothing(elsewhere: Path) -> None:
    (elsewhere / ".env").write_text("theirs: 1\nAGENT_HUB_PORT=81\n")
    assert load({}).port == 81


def test_a_mark_of_the_byte_order_is_no_part_of_a_secret(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (elsewhere / "key").write_bytes(b"\xef\xbb\xbfhunter2\r\n")
    monkeypatch.setenv("AGENT_HUB_SECRET_KEY_FILE", "key")
    assert load({}).secret_key == "hunter2"


def test_a_directory_named_like_the_file_is_no_file(elsewhere: Path) -> None:
    (elsewhere / ".env").mkdir()
    assert load({}) == Settings()


def test_settings_cannot_be_changed_after_the_start() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load({}).port = 1


def test_every_setting_says_what_it_is_for() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert re.fullmatch(r"[a-z_]+", name)


def test_beyond_this_machine_oauth_needs_the_address_that_clients_know() -> None:
    for where in ({"host": "0.0.0.0"}, {"trusted_proxy": "10.0.0.1"}):
        assert refusal(auth="oauth", **where) == (
            "--auth: oauth beyond this machine needs the address by which clients know the hub;"
            " set `--public-url https://host`"
        )
    settings = load(
        {"auth": "token,oauth", "host": "0.0.0.0", "public_url": "https://Hub.example/"}
    )
    assert settings.public_url == "https://hub.example"
    assert load({"auth": "oauth"}).public_url == ""


def test_an_identity_provider_is_of_use_only_when_it_says_who_may_come_in() -> None:
    provider = {"auth": "oauth", "oidc_issuer": "https://id.example"}
    assert refusal(**provider) == "--oidc-issuer: it needs --oidc-client-id and --oidc-allow too"
    whole = {**provider, "oidc_client_id": "hub", "oidc_allow": "@example.com,sub:7"}
    assert load(whole).oidc_allow == ("@example.com", "sub:7")
    assert refusal(**{**whole, "auth": "token"}).startswith("--oidc-issuer: people sign in only")


def test_the_identity_providers_secret_is_not_shown() -> None:
    assert "oidc_client_secret" in secret_fields()
