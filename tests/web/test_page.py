"""The hub's own page: the one place from whose console a browser may call the hub."""

from __future__ import annotations

from agent_hub.web.ops import PAGE_POLICY
from tests.server import RunningHub


async def test_the_page_runs_nothing_from_elsewhere_and_cannot_be_framed(
    served: RunningHub,
) -> None:
    async with served.session.get("/") as answer:
        assert answer.status == 200
        assert answer.content_type == "text/html"
        assert answer.charset == "utf-8"
        policy = answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        text = await answer.text()
    assert policy == PAGE_POLICY
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == rules["frame-ancestors"] == rules["form-action"] == "'none'"
    assert rules["connect-src"] == "'self'"
    assert "src=" not in text


async def test_the_page_links_only_to_what_is_there(served: RunningHub) -> None:
    async with served.session.get("/") as answer:
        text = await answer.text()
    links = [part.split('"')[0] for part in text.split('href="')[1:]]
    assert links
    for link in links:
        async with served.session.get(link) as answer:
            assert answer.status == 200, link


async def test_head_is_get_without_a_body(served: RunningHub) -> None:
    for path in ("/", "/docs", "/health", "/metrics", "/api/v1/agents", "/api/v1/openapi.json"):
        async with served.session.head(path) as answer:
            assert answer.status == 200, path
            assert int(answer.headers["Content-Length"]) > 0
            assert await answer.read() == b""
