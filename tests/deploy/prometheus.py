"""A real Prometheus in a process of its own, and what it knows."""

from __future__ import annotations

import asyncio
import re
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import yaml
from aiohttp import ClientSession, ClientTimeout

from tests.deploy import files
from tests.patience import PATIENCE
from tests.ports import free_port

BETWEEN_LOOKS = 0.05

LEAST_FOR = 3_000
"""Milliseconds."""

DURATION = re.compile(r"(?<=\[)(\d+)([sm])(?=\])|(?<=offset )(\d+)([sm])\b")
SECONDS = {"s": 1, "m": 60}


class Prometheus:
    """What a running one answers."""

    def __init__(self, session: ClientSession) -> None:
        self._session = session

    async def _ask(self, path: str, **query: str) -> Any:
        async with self._session.get(f"/api/v1/{path}", params=query) as answer:
            told = await answer.json()
            assert told["status"] == "success", (query, told)
            return told["data"]

    async def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """The samples of an expression as of now, by their labels."""
        result = (await self._ask("query", query=expression))["result"]
        return [(one["metric"], float(one["value"][1])) for one in result]

    async def value(self, expression: str) -> float | None:
        """The only sample; None if there is none."""
        samples = await self.query(expression)
        assert len(samples) <= 1, samples
        return samples[0][1] if samples else None

    async def history(self, expression: str, seconds: int) -> list[float]:
        """Every value in the time until now."""
        series = await self.query_range(expression, seconds)
        return [value for values in series.values() for value in values]

    async def query_range(self, selector: str, seconds: int) -> dict[str, list[float]]:
        """The raw samples of a selector, by their labels."""
        result = (await self._ask("query", query=f"{selector}[{seconds}s]"))["result"]
        return {
            str(sorted(one["metric"].items())): [float(value) for _, value in one["values"]]
            for one in result
        }

    async def names(self) -> set[str]:
        """The metrics of which a scrape told name and type."""
        return set(await self._ask("metadata"))

    async def alerts(self, state: str = "firing") -> list[Any]:
        """The alerts in this state, with their labels and annotations."""
        alerts = (await self._ask("alerts"))["alerts"]
        return [alert for alert in alerts if alert["state"] == state]

    async def firing(self) -> set[str]:
        return {alert["labels"]["alertname"] for alert in await self.alerts()}

    async def is_quiet(self) -> bool:
        return not await self.firing()

    async def scraped(self) -> None:
        """Until a scrape is over that began after this call."""
        before = await self.value("vector(time())")
        assert before is not None

        async def again() -> bool:
            at = await self.value('min(timestamp(up{job="agent-hub"}))')
            return at is not None and at > before

        await until(again)


async def until(happened: Callable[[], Awaitable[object]], seconds: float = PATIENCE) -> None:
    """Ask another program again and again until something is so; it cannot tell by itself."""
    async with asyncio.timeout(seconds):
        while not await happened():  # noqa: ASYNC110 (what is waited for is another process)
            await asyncio.sleep(BETWEEN_LOOKS)


def hurried_rules(path: Path, by: int, thresholds: dict[str, str]) -> dict[str, Any]:
    """The alert rules with every duration divided; `thresholds` are times that are numbers.

    How long a condition must last is not divided below `LEAST_FOR`: a busy machine is late with a
    scrape by as much as ever.
    """
    (document,) = files.documents(path)
    for group in document["groups"]:
        for rule in group["rules"]:
            rule["expr"] = DURATION.sub(lambda found: _divided(found, by), rule["expr"])
            for before, after in thresholds.items():
                rule["expr"] = rule["expr"].replace(before, after)
            if "for" in rule:
                rule["for"] = f"{max(_seconds(rule['for']) * 1000 // by, LEAST_FOR)}ms"
    assert isinstance(document, dict)
    return document


def _seconds(duration: str) -> int:
    return int(duration[:-1]) * SECONDS[duration[-1]]


def _divided(found: re.Match[str], by: int) -> str:
    return f"{_seconds(found[0]) * 1000 // by}ms"


@asynccontextmanager
async def prometheus(
    program: Path,
    folder: Path,
    *targets: str,
    every: str = "500ms",
    rules: dict[str, Any] | None = None,
) -> AsyncIterator[Prometheus]:
    """One that scrapes these addresses as the job `agent-hub`."""
    (configuration,) = files.documents(files.PROMETHEUS)
    configuration["global"] = {
        "scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every,
    }  # fmt: skip
    (job,) = configuration["scrape_configs"]
    job["static_configs"] = [{"targets": list(targets)}]
    configuration["rule_files"] = ["rules.yml"]
    folder.mkdir()
    (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    (folder / "rules.yml").write_text(yaml.safe_dump(rules or {"groups": []}))
    address = f"127.0.0.1:{free_port()}"
    process = await asyncio.create_subprocess_exec(
        program,
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={address}",
        "--log.level=warn",
        cwd=folder,
        stdout=DEVNULL,
        stderr=PIPE,
    )
    try:
        assert process.stderr is not None
        timeout = ClientTimeout(total=30)
        async with ClientSession(f"http://{address}", timeout=timeout) as session:
            await until(lambda: _is_ready(session, process))
            yield Prometheus(session)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()


async def _is_ready(session: ClientSession, process: asyncio.subprocess.Process) -> bool:
    if process.returncode is not None:
        assert process.stderr is not None
        raise AssertionError((await process.stderr.read()).decode())
    try:
        async with session.get("/-/ready") as answer:
            return answer.status == 200
    except OSError:
        return False
