"""A database of its own for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lrsearch.study.database import Database
from lrsearch.study.trials import Studies


@pytest.fixture
def studies(url: str) -> Iterator[Studies]:
    studies = Studies(url)
    yield studies
    studies.close()


@pytest.fixture
def database(url: str, studies: Studies) -> Database:
    return Database(url, studies.engine)
