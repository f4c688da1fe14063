"""Whom a proxy speaks for: believed of those that are named, and of nobody else."""

from __future__ import annotations

import pytest
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from agent_hub.web.proxies import FORWARDED, X_FORWARDED, Client, Proxies
from tests.patience import not_for_ever

PROXY = "10.0.0.1"
TRUSTED = ("10.0.0.0/24", "2001:db8::1")


def client(
    *headers: tuple[str, str],
    peer: str = PROXY,
    trusted: tuple[str, ...] = TRUSTED,
    header: str = X_FORWARDED,
) -> Client:
    request = make_mocked_request("GET", "/", headers=CIMultiDict(headers)).clone(remote=peer)
    return Proxies(trusted, header).client(request)


def forwarded(value: str, **more: str) -> Client:
    return client(("Forwarded", value), header=FORWARDED, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("trusted", [(), ("10.9.0.0/16",)])
def test_without_trust_nothing_is_believed(trusted: tuple[str, ...]) -> None:
    said = [("X-Forwarded-For", "192.0.2.7"), ("X-Forwarded-Proto", "https")]
    for header in (X_FORWARDED, FORWARDED):
        told = client(*said, ("Forwarded", "for=192.0.2.7"), trusted=trusted, header=header)
        assert told == Client(PROXY, "http")


def test_a_client_is_who_the_proxy_heard_from() -> None:
    said = [("X-Forwarded-For", "192.0.2.7"), ("X-Forwarded-Proto", "https")]
    assert client(*said) == Client("192.0.2.7", "https")
    assert client(*said, peer="::ffff:10.0.0.1").peer == "192.0.2.7"
    assert client(*said, peer="2001:db8::1").peer == "192.0.2.7"


def test_what_the_client_itself_wrote_is_not_believed() -> None:
    assert client(("X-Forwarded-For", "127.0.0.1, 192.0.2.7")).peer == "192.0.2.7"
    assert client(("X-Forwarded-For", "127.0.0.1"), ("X-Forwarded-For", "192.0.2.7")).peer == (
        "192.0.2.7"
    )
    assert forwarded("for=127.0.0.1;proto=https, for=192.0.2.7") == Client("192.0.2.7", "http")


def test_a_row_of_trusted_proxies_is_passed_through() -> None:
    assert client(("X-Forwarded-For", "127.0.0.1, 192.0.2.7, 10.0.0.9")).peer == "192.0.2.7"
    assert forwarded("for=192.0.2.7;proto=https, for=10.0.0.9") == Client("192.0.2.7", "https")


def test_the_header_that_was_not_chosen_says_nothing() -> None:
    """A proxy that sets one may pass the other on as a client made it up."""
    assert client(("Forwarded", "for=127.0.0.1;proto=https")) == Client(PROXY, "http")
    assert client(("X-Forwarded-For", "127.0.0.1"), header=FORWARDED) == Client(PROXY, "http")


@pytest.mark.parametrize(
    ("value", "peer"),
    [
        ("for=192.0.2.7", "192.0.2.7"),
        ('for="192.0.2.7:4711"', "192.0.2.7"),
        ('For="[2001:db8:cafe::17]:4711"', "2001:db8:cafe::17"),
        ("by=10.0.0.1;for=192.0.2.7;host=hub.example;proto=https", "192.0.2.7"),
        ('by="a;b,c";for=192.0.2.7', "192.0.2.7"),
        ("for=unknown", "unknown"),
        ("for=_hidden", "unknown"),
        ("proto=https", "unknown"),
        ("for=", "unknown"),
        ('for="', "unknown"),
        ("nonsense", "unknown"),
    ],
)
def test_every_form_of_the_standard_header_is_read(value: str, peer: str) -> None:
    assert forwarded(value).peer == peer


BY_THE_PROXY = 'for="[2001:db8::2]:4711"'


@pytest.mark.parametrize(
    "opened", ['for=127.0.0.1;x="', 'for="127.0.0.1', '"', "for=127.0.0.1;x=\\"]
)
def test_a_quote_that_the_client_left_open_hides_no_proxy(opened: str) -> None:
    lines = (("Forwarded", opened), ("Forwarded", BY_THE_PROXY))
    assert client(*lines, header=FORWARDED).peer == "2001:db8::2"
    # What a proxy itself put behind it on one line can be the client's too.
    assert forwarded(f"{opened}, {BY_THE_PROXY}").peer in ("2001:db8::2", "unknown")


LONG = 1_000_000
"""Far more than the hub takes: what is slow to read would be read for many minutes."""


@pytest.mark.parametrize(
    "value",
    [
        "a" * LONG,
        " " * LONG + '"',
        "for=" + " " * LONG + '"',
        '"' + '\\"' * (LONG // 2),
        "a=" + '"\\' * (LONG // 2),
        ('a="' + " " * 50) * (LONG // 53),
        "a=;" * (LONG // 3),
        "1," * (LONG // 2),
    ],
)
@pytest.mark.parametrize("header", [FORWARDED, X_FORWARDED])
def test_no_header_takes_long_to_read(header: str, value: str) -> None:
    with not_for_ever():
        client((header, value), header=header)


@pytest.mark.parametrize(
    ("value", "peer"),
    [
        ("192.0.2.7:4711", "192.0.2.7"),
        ("[2001:db8::2]:4711", "2001:db8::2"),
        ("2001:db8::2", "2001:db8::2"),
        ("made up", "unknown"),
        ("", PROXY),
        (" , ", PROXY),
    ],
)
def test_every_form_of_the_usual_header_is_read(value: str, peer: str) -> None:
    assert client(("X-Forwarded-For", value)).peer == peer


@pytest.mark.parametrize("scheme", ["javascript", "", "HTTPS,http,gopher"])
def test_a_scheme_is_http_or_https(scheme: str) -> None:
    assert client(("X-Forwarded-For", "192.0.2.7"), ("X-Forwarded-Proto", scheme)).scheme == "http"


def test_a_scheme_without_a_client_says_nothing() -> None:
    assert client(("X-Forwarded-Proto", "https")) == Client(PROXY, "http")
