"""IDEs of both eras, at a served hub whose time stands still."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.mcp.door import ERAS, Ide, ide
from tests.server import RunningHub


@pytest.fixture(params=ERAS)
def era(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def alpha(served: RunningHub, era: str) -> AsyncIterator[Ide]:
    """An IDE, in both eras."""
    async with ide(served, era) as alpha:
        yield alpha
