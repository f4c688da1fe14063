"""A served hub whose time stands still, and a client that calls it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.clock import ManualClock
from tests.server import RunningHub, running_hub
from tests.web.caller import Caller


@pytest.fixture
async def served(clock: ManualClock) -> AsyncIterator[RunningHub]:
    async with running_hub(clock=clock) as served:
        yield served


@pytest.fixture
def rest(served: RunningHub) -> Caller:
    return Caller(served.session)
