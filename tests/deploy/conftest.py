"""The programs that these tests run, fetched once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.deploy.programs import program


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("packages")


@pytest.fixture(scope="session")
def promtool(packages: Path) -> Path:
    return program("promtool", "prometheus", folder=packages)


@pytest.fixture(scope="session")
def server(packages: Path) -> Path:
    """The Prometheus server."""
    return program("prometheus", "prometheus", folder=packages)
