"""A told sweep in a database of either kind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from told_sweep import ToldSweep


@pytest.fixture
def sweep(url: str) -> Iterator[ToldSweep]:
    sweep = ToldSweep(url)
    yield sweep
    sweep.close()
