"""What docs/connect.md tells a user to copy is what the hub expects."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

from tests.mcp.door import Ide, ide
from tests.mcp.test_tools import NAMES
from tests.server import RunningHub

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/connect.md").read_text(encoding="utf-8")
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
URL = "http://localhost:8080/mcp/"


def fences(language: str) -> list[str]:
    return [body for found, body in FENCE.findall(PAGE) if found == language]


def test_every_configuration_can_be_read_and_names_the_door() -> None:
    configurations = [*map(json.loads, fences("json")), *map(tomllib.loads, fences("toml"))]
    assert len(configurations) == 12
    assert all(URL in str(configuration) for configuration in configurations)


def test_no_configuration_holds_a_token_but_the_name_of_its_variable() -> None:
    shown = [body for language in ("json", "toml") for body in fences(language)]
    with_token = [body for body in shown if "Bearer" in body or "bearer" in body]
    assert len(with_token) == 5
    assert all(re.search(r"AGENT_HUB_TOKEN|\$\{input:", body) for body in with_token)


def test_the_page_names_the_five_tools() -> None:
    assert re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE) == NAMES


async def test_the_example_file_is_the_one_that_the_tool_shows(served: RunningHub) -> None:
    example = json.loads((ROOT / "mcp_recipients.example.json").read_text(encoding="utf-8"))
    assert json.loads(fences("json")[0]) == example
    async with ide(served) as alpha:
        shown = (await alpha.call("get_my_identity"))["example"]
    shown["server_info"]["url"] = URL
    assert shown == example


async def test_the_curl_line_is_answered(served: RunningHub, alpha: Ide) -> None:
    [line] = [body for body in fences("bash") if body.startswith("curl")]
    found = re.search(r"-d '(.*)'", line)
    assert found is not None
    headers = dict(header.split(": ") for header in re.findall(r'-H "([^"]+)"', line))
    async with served.session.post("/mcp/", data=found[1], headers=headers) as answer:
        told = await answer.json()
    assert told["result"]["structuredContent"]["file"] == "mcp_recipients.json"
