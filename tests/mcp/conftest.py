"""A served hub whose time stands still, and IDEs of both eras."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.clock import ManualClock
from tests.mcp.door import ERAS, Ide, ide
from tests.server import RunningHub, running_hub
from tests.web.caller import Caller


@pytest.fixture
async def served(clock: ManualClock) -> AsyncIterator[RunningHub]:
    async with running_hub(clock=clock) as served:
        yield served


@pytest.fixture
def rest(served: RunningHub) -> Caller:
    return Caller(served.session)


@pytest.fixture(params=ERAS)
def era(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def alpha(served: RunningHub, era: str) -> AsyncIterator[Ide]:
    """An IDE, in both eras."""
    async with ide(served, era) as alpha:
        yield alpha
