"""The page of the calls: whole, true to the document, and without anything from elsewhere."""

from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser
from typing import Any

import pytest

from agent_hub.web.reference import Reference
from tests.server import RunningHub
from tests.web.caller import Caller

VOID = {"meta", "link", "br"}
RUNS = {"script", "iframe", "object", "embed", "form", "img", "link", "base"}
STYLE = re.compile(r"<style>(.*?)</style>", re.DOTALL)

Attributes = list[tuple[str, str | None]]


class Reader(HTMLParser):
    """What a browser would find: ids, links, tags, words. Fails on a tag that is not closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: set[str] = set()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.words = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: Attributes) -> None:
        given = dict(attrs)
        self.tags.add(tag)
        self.attributes |= given.keys()
        if given.get("id"):
            self.ids.append(str(given["id"]))
        if tag == "a":
            self.links.add(str(given["href"]))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


@pytest.fixture
async def text(served: RunningHub) -> str:
    async with served.session.get("/docs") as answer:
        assert (answer.status, answer.content_type, answer.charset) == (200, "text/html", "utf-8")
        return await answer.text()


@pytest.fixture
def page(text: str) -> Reader:
    return Reader(text)


@pytest.fixture
async def document(rest: Caller) -> Any:
    return await rest.get("/api/v1/openapi.json")


async def test_every_call_parameter_and_field_is_on_the_page(document: Any, page: Reader) -> None:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            assert f"{method.upper()} {path}" in page.words
            assert operation["summary"] in page.words
    for name, schema in document["components"]["schemas"].items():
        assert name in page.ids
        for field in schema["properties"]:
            assert field in page.words, (name, field)
    for name in document["components"]["parameters"]:
        assert name in page.words


async def test_a_call_shows_all_its_answers(document: Any, text: str) -> None:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            anchor = f"{method}{re.sub('[^A-Za-z0-9]+', '-', path)}".rstrip("-")
            (article,) = re.findall(f'<article id="{anchor}">(.*?)</article>', text, re.DOTALL)
            shown = re.findall(r"<td><code>(\d{3})</code></td>", article)
            assert shown == list(operation["responses"])


async def test_the_links_of_the_page_lead_somewhere(page: Reader, served: RunningHub) -> None:
    assert len(page.ids) == len(set(page.ids))
    assert {link.removeprefix("#") for link in page.links if link.startswith("#")} == set(page.ids)
    for link in page.links:
        if not link.startswith("#"):
            async with served.session.get(link) as answer:
                assert answer.status == 200, link


async def test_the_page_runs_nothing_and_its_policy_allows_its_one_style_alone(
    served: RunningHub, text: str, page: Reader
) -> None:
    assert not page.tags & RUNS
    assert not {name for name in page.attributes if name.startswith("on") or name == "style"}
    assert "url(" not in text
    assert "@import" not in text
    async with served.session.get("/docs") as answer:
        headers = answer.headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    rules = dict(rule.split(" ", 1) for rule in headers["Content-Security-Policy"].split("; "))
    (style,) = STYLE.findall(text)
    digest = b64encode(sha256(style.encode()).digest()).decode()
    assert rules.pop("style-src") == f"'sha256-{digest}'"
    assert rules == dict.fromkeys(
        ("default-src", "frame-ancestors", "base-uri", "form-action"), "'none'"
    )


async def test_what_the_document_says_is_text_and_never_markup(document: Any) -> None:
    markup = '"><script>alert(1)</script><b x="'

    def spoilt(thing: Any, key: str = "") -> Any:
        if isinstance(thing, dict):
            return {name: spoilt(inner, name) for name, inner in thing.items()}
        if isinstance(thing, list):
            return [spoilt(inner, key) for inner in thing]
        spoilable = {"summary", "description", "examples", "enum", "default", "version"}
        return thing + markup if key in spoilable and isinstance(thing, str) else thing

    page = Reader(Reference(lambda: spoilt(document))._made[0].decode())
    assert not page.tags & (RUNS | {"b"})
    assert page.words.count("<script>") > 10


async def test_a_link_to_the_page_may_stand_anywhere_and_the_gate_is_before_it(
    served: RunningHub,
) -> None:
    followed = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "document"}
    for headers, status in (
        (followed, 200),
        ({**followed, "Sec-Fetch-Dest": "script"}, 403),
        ({"Origin": "https://elsewhere.example"}, 403),
        ({"Host": "elsewhere.example"}, 421),
    ):
        async with served.session.get("/docs", headers=headers) as answer:
            assert answer.status == status, headers
