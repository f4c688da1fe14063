"""The image's steps, run by hand: they end in a hub that an unprivileged user can run."""

from __future__ import annotations

import json
import re
import shlex
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from tests.certificates import certificate
from tests.deploy import files
from tests.deploy.image import Image, built_image
from tests.patience import PATIENCE
from tests.ports import free_port
from tests.redis_server import redis_server

pytestmark = pytest.mark.slow

REDIS_MANIFEST = files.DEPLOY / "kubernetes" / "redis.yaml"
LISTENS = re.compile(r"listens on (https?://\S+)")


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    with built_image() as image:
        yield image


@contextmanager
def running(
    image: Image, *flags: str, **variables: str
) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """A hub from the image on a free port; killed if it still runs in the end."""
    port = free_port()
    process = image.start("serve", *flags, AGENT_HUB_PORT=str(port), **variables)
    with listening(process):
        yield port, process


@contextmanager
def listening(process: subprocess.Popen[str]) -> Iterator[None]:
    """Once it says that it listens; killed if it still runs in the end."""
    with process:
        try:
            assert process.stderr is not None
            for line in process.stderr:
                if LISTENS.search(json.loads(line)["event"]):
                    break
            else:
                pytest.fail("the hub of the image did not start")
            yield
        finally:
            if process.poll() is None:
                process.kill()


def call(port: int, path: str, body: Any = None, token: str | None = None) -> Any:
    headers = {} if body is None else {"Content-Type": "application/json"}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    data = None if body is None else json.dumps(body).encode()
    request = Request(f"http://127.0.0.1:{port}{path}", data=data, headers=headers)
    with urlopen(request, timeout=PATIENCE) as answer:
        return json.loads(answer.read())


def test_without_a_credential_it_does_not_start_and_says_why(image: Image) -> None:
    with image.start() as process:
        out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2
    assert out == ""
    (line,) = err.splitlines()
    assert "0.0.0.0" in line
    assert "--insecure" in line


def test_it_answers_as_an_unprivileged_user_and_ends_as_it_is_told(image: Image) -> None:
    draft = {"from": "beta", "to": "alpha", "text": "Hello"}
    with running(image, "--insecure") as (port, process):
        assert call(port, "/readyz") == {"status": "ok"}
        assert call(port, "/api/v1/messages", draft)["durability"] == "disk"
        assert image.ask_health(AGENT_HUB_PORT=str(port)) == 0
        owner = Path(f"/proc/{process.pid}").stat().st_uid
        assert owner != 0
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0
    assert image.ask_health(AGENT_HUB_PORT=str(port)) != 0
    with running(image, "--insecure") as (port, _):
        told = call(port, "/api/v1/messages?agent_id=alpha")
    assert [message["text"] for message in told["messages"]] == ["Hello"]


def test_with_tokens_it_lets_in_who_has_one(image: Image) -> None:
    draft = {"from": "beta", "to": "alpha", "text": "Hello"}
    auth = {"AGENT_HUB_AUTH": "token"}
    with running(image, **auth) as (port, _):
        created = image.run("agent-hub", "token", "create", "--agent", "beta", **auth)
        assert created.returncode == 0, created.stderr
        token = created.stdout.strip()
        assert call(port, "/readyz") == {"status": "ok"}
        assert call(port, "/api/v1/messages", draft, token)["success"] is True
        with pytest.raises(HTTPError) as refused:
            call(port, "/api/v1/messages", draft)
        with refused.value as answer:
            assert answer.status == 401
        assert image.ask_health(AGENT_HUB_PORT=str(port)) == 0


def test_its_health_is_asked_over_tls_where_it_speaks_tls(image: Image) -> None:
    pair = certificate(image.root)
    for file in pair:
        file.chmod(0o644)
    names = ("AGENT_HUB_TLS_CERT", "AGENT_HUB_TLS_KEY")
    given = dict(zip(names, map(str, pair), strict=True))
    with running(image, "--auth", "token", **given) as (port, _):
        assert image.ask_health(AGENT_HUB_PORT=str(port), **given) == 0
        assert image.ask_health(AGENT_HUB_PORT=str(port)) != 0


def test_a_token_can_be_made_where_the_hub_has_its_settings_as_flags(image: Image) -> None:
    with running(image, "--auth", "token") as (port, _):
        created = image.run("agent-hub", "token", "create", "--agent", "beta")
        assert created.returncode == 0, created.stderr
        assert call(port, "/health", token=created.stdout.strip())["durability"] == "disk"


def test_on_redis_from_a_secret_file_it_keeps_nothing_beside_it_and_tokens_outlive_it(
    image: Image,
) -> None:
    (deployment,) = [one for one in files.documents(REDIS_MANIFEST) if one["kind"] == "Deployment"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    variables = {one["name"]: one["value"] for one in container["env"]}
    secret = image.root / "backend"
    with redis_server(password="kept for itself") as redis:
        secret.write_text(f"{redis.url}\n")
        secret.chmod(0o644)
        variables["AGENT_HUB_BACKEND_FILE"] = str(secret)
        before = sorted(image.state.iterdir())
        with running(image, "--workers", "2", **variables) as (port, process):
            created = image.run("agent-hub", "token", "create", "--agent", "beta", **variables)
            token = created.stdout.strip()
            assert call(port, "/health", token=token)["backend"] == "redis"
            assert call(port, "/readyz") == {"status": "ok"}
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=20) == 0
        with running(image, **variables) as (port, _):
            assert call(port, "/health", token=token)["backend"] == "redis"
        assert sorted(image.state.iterdir()) == before


def test_the_command_for_railway_takes_the_port_that_it_is_given(image: Image) -> None:
    settings = json.loads((files.ROOT / "railway.json").read_text(encoding="utf-8"))
    command = shlex.split(settings["deploy"]["startCommand"])
    port = free_port()
    with listening(image.open(*command, PORT=str(port), AGENT_HUB_AUTH="token")):
        assert call(port, settings["deploy"]["healthcheckPath"]) == {"status": "ok"}


def test_it_can_write_to_its_state_and_to_nothing_else(image: Image) -> None:
    attempt = "import sys, pathlib; pathlib.Path(sys.argv[1]).write_text('x')"
    for path in (image.root, image.root / "opt/agent-hub", image.root / "opt/agent-hub/bin"):
        refused = image.run("python", "-c", attempt, str(path / "mine"))
        assert refused.returncode != 0
        assert "PermissionError" in refused.stderr
    assert image.run("python", "-c", attempt, str(image.state / "mine")).returncode == 0


def test_what_is_installed_are_wheels_in_the_versions_that_were_asked_for(
    image: Image,
) -> None:
    listing = image.run(
        "python",
        "-c",
        "import importlib.metadata as m, json; print(json.dumps({"
        "d.name.lower().replace('_', '-'): d.version"
        " for d in m.distributions() if '/opt/agent-hub/' in str(d.locate_file(''))}))",
    )
    installed = json.loads(listing.stdout)
    wanted = dict(
        line.split(";")[0].strip().lower().split("==")
        for line in (Path(__file__).parents[2] / "requirements.txt").read_text().splitlines()
        if "==" in line
    )
    assert wanted.items() <= installed.items()
    assert not {"pip", "setuptools", "wheel"} & installed.keys()
    assert not list((image.root / "opt/agent-hub").rglob("tests/acceptance"))
