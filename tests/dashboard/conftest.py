"""A told sweep in a database of either kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from told_sweep import ToldSweep


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'lrsearch.db'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def either_url(request: pytest.FixtureRequest, url: str) -> str:
    """An empty database, of both kinds in turn."""
    if request.param == "sqlite":
        return url
    new_database: Callable[[], str] = request.getfixturevalue("new_database")
    return new_database()


@pytest.fixture
def sweep(url: str) -> Iterator[ToldSweep]:
    sweep = ToldSweep(url)
    yield sweep
    sweep.close()
