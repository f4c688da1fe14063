"""The documentation says what the code does: its examples decode, its tables are complete."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent_hub.core.errors import HubError
from agent_hub.web import ops
from agent_hub.web.close_codes import CloseCode
from agent_hub.wire import agents, frames, inboxes, messages, problems

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [*ROOT.glob("*.md"), *DOCS.rglob("*.md")]

EXAMPLE = re.compile(r"^<!-- wire: (\w+) -->\n```json\n(.*?)^```$", re.MULTILINE | re.DOTALL)
JSON_FENCE = re.compile(r"^```json$", re.MULTILINE)
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")

FROM_CLIENTS = {"RegisterBody", "HeartbeatBody", "SendBody", "ReceiveBody", "AckBody"} | {
    "ClientFrame",
    "CredentialFrame",
}


def examples(page: str) -> list[Any]:
    """Each JSON example of a page, with the name of the wire type that it shows."""
    text = (DOCS / page).read_text(encoding="utf-8")
    found = EXAMPLE.findall(text)
    assert len(found) == len(JSON_FENCE.findall(text)), f"an example of {page} names no wire type"
    return [
        pytest.param(name, body, id=f"{page}-{number}-{name}")
        for number, (name, body) in enumerate(found, start=1)
    ]


def wire_type(name: str) -> Any:
    modules = (agents, messages, inboxes, frames, problems, ops)
    return next(getattr(module, name) for module in modules if hasattr(module, name))


def table(page: str, heading: str) -> list[list[str]]:
    """The cells of the rows of the table whose first column has this heading."""
    lines = (DOCS / page).read_text(encoding="utf-8").splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith(f"| {heading} |"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


@pytest.mark.parametrize(("name", "body"), [*examples("rest.md"), *examples("websocket.md")])
def test_an_example_has_exactly_the_keys_of_its_wire_type(name: str, body: str) -> None:
    if name in FROM_CLIENTS:  # those may leave fields out, and refuse unknown ones themselves
        msgspec.json.decode(body, type=wire_type(name))
        return
    fields = json.loads(body)
    if "ref" in fields:  # any JSON, but of `Raw | None` msgspec reads null alone
        fields["ref"] = None
    decoded = msgspec.json.decode(json.dumps(fields), type=wire_type(name))
    assert json.loads(msgspec.json.encode(decoded)) == fields


@pytest.mark.parametrize("name", ["SendBody", "ClientFrame"])
def test_an_example_of_a_draft_can_be_sent(name: str) -> None:
    shown = [e.values for e in (*examples("rest.md"), *examples("websocket.md"))]
    drafts = [str(body) for shape, body in shown if shape == name and '"to"' in str(body)]
    assert drafts
    for body in drafts:
        decoded = msgspec.json.decode(body, type=wire_type(name))
        if isinstance(decoded, frames.ClientFrame):
            decoded.draft("beta-01TYEi4M")
        else:
            messages.draft_of(decoded)


def every_refusal(kind: type[HubError] = HubError) -> set[type[HubError]]:
    return {kind}.union(*(every_refusal(narrower) for narrower in kind.__subclasses__()))


def test_the_table_of_errors_has_every_code_with_its_status_and_whether_to_try_again() -> None:
    retryable = {kind.code: kind.retryable for kind in every_refusal()}
    shown = {row[0].strip("`"): (int(row[1]), row[2]) for row in table("rest.md", "code")}
    assert shown == {
        code: (status, "yes" if retryable[code] else "no")
        for code, status in problems.STATUS.items()
    }


def test_the_table_of_close_codes_is_complete() -> None:
    assert [int(row[0]) for row in table("websocket.md", "code")] == [
        code.value for code in CloseCode
    ]


def test_after_a_code_from_4500_on_nobody_is_told_to_reconnect() -> None:
    for code, _, advice in table("websocket.md", "code"):
        assert advice.startswith("do not reconnect") == (int(code) >= 4500), code


def anchors(page: Path) -> set[str]:
    """The fragments of a page's headings, as GitHub makes them."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    plain = (re.sub(r"[^\w\- ]", "", title.lower()) for title in HEADING.findall(text))
    return {title.strip().replace(" ", "-") for title in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    for link in LINK.findall(text):
        if link.startswith(("http://", "https://")):
            continue
        path, _, fragment = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if fragment:
            assert fragment in anchors(target), link


# --- how it is built ------------------------------------------------------------------------


def modules() -> set[str]:
    """The Python files that are the hub, as the table of the architecture names them."""
    found = [*ROOT.glob("*.py"), *ROOT.glob("agent_hub/**/*.py"), *ROOT.glob("mcp_bridge/**/*.py")]
    names = {str(path.relative_to(ROOT)) for path in found if path.name != "__init__.py"}
    return {name.removeprefix("agent_hub/") for name in names}


def test_the_table_of_the_architecture_names_every_module_and_none_that_is_gone() -> None:
    named: set[str] = set()
    for where, _ in table("architecture.md", "where"):
        folder = ""
        for name in re.findall(r"`([^`]+)`", where):
            name = name.removeprefix("agent_hub/")
            if "/" in name:
                folder = name[: name.rindex("/") + 1]
            named.add(name if "/" in name else folder + name)
    folders = tuple(name for name in named if name.endswith("/"))
    there = modules()
    assert {name for name in there if not name.startswith(folders)} <= named
    assert {name for name in named if name.endswith(".py")} <= there
    for folder in folders:
        assert any(name.startswith(folder) for name in there), folder


def test_each_decision_has_a_number_of_its_own_that_its_title_repeats() -> None:
    pages = sorted((DOCS / "decisions").glob("*.md"))
    numbers = [page.name[:4] for page in pages]
    assert len(numbers) == len(set(numbers))
    for page, number in zip(pages, numbers, strict=True):
        assert page.read_text(encoding="utf-8").startswith(f"# {number}: "), page.name
