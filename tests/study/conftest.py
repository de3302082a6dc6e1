"""A database of its own for each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lrsearch.study.database import Database
from lrsearch.study.trials import Studies


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'study.db'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def either_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database, of both kinds in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'study.db'}"
    new_database: Callable[[], str] = request.getfixturevalue("new_database")
    return new_database()


@pytest.fixture
def studies(url: str) -> Iterator[Studies]:
    studies = Studies(url)
    yield studies
    studies.close()


@pytest.fixture
def database(url: str, studies: Studies) -> Database:
    return Database(url, studies.engine)
