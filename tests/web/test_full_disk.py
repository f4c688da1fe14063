"""What a client sees while the hub's store cannot be written, and afterwards."""

from __future__ import annotations

from pathlib import Path

from agent_hub.clock import SystemClock
from agent_hub.queue_backends.sqlite import SqliteBackend
from tests.backends.sqlite_files import page_limit
from tests.server import running_hub

TEXT = "x" * 100_000


async def test_a_full_disk_is_a_503_until_there_is_room(tmp_path: Path) -> None:
    backend = SqliteBackend(tmp_path / "hub.db", SystemClock())
    async with running_hub(backend=backend) as hub:

        async def send() -> int:
            body = {"from": "beta", "to": "alpha", "text": TEXT}
            async with hub.session.post("/api/v1/messages", json=body) as response:
                answer = await response.json()
                if response.status == 503:
                    assert (answer["code"], answer["retryable"]) == ("backend_unavailable", True)
                    assert response.headers["Retry-After"]
                return response.status

        async def status(path: str) -> int:
            async with hub.session.get(path) as response:
                return response.status

        assert await send() == 202
        pages = page_limit(backend, 50)
        statuses = [await send() for _ in range(5)]
        assert statuses[-1] == 503
        assert (await status("/readyz"), await status("/livez")) == (503, 200)
        assert await status("/api/v1/messages?agent_id=alpha") == 200
        page_limit(backend, pages)
        assert await send() == 202
        assert await status("/readyz") == 200
