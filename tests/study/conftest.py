"""A database of its own for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lrsearch.study.database import Database
from lrsearch.study.trials import Studies


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'study.db'}"


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    database = Database(url)
    yield database
    database.close()


@pytest.fixture
def studies(url: str, database: Database) -> Iterator[Studies]:
    studies = Studies(url)
    yield studies
    studies.close()
