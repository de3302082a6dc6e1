"""What a parent hears of its workers, and when it has heard nothing for too long."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator

import pytest

from lrsearch.workers.heartbeat import Heartbeat, HeartbeatListener


class Line:
    """Both ends of a pipe, and the parent's clock, set by hand."""

    def __init__(self) -> None:
        self.now = 0.0
        self.listener = HeartbeatListener(lambda: self.now)
        self.tell = Heartbeat(os.dup(self.listener.write))
        self.listener.started()

    def passes(self, seconds: int) -> float | None:
        """So many seconds, one look each; the last answer."""
        found = None
        for _ in range(seconds):
            self.now += 1.0
            found = self.listener.silence()
        return found


@pytest.fixture
def line() -> Iterator[Line]:
    line = Line()
    yield line
    line.listener.close()
    os.close(line.tell._descriptor)


def test_a_worker_that_has_said_nothing_yet_may_be_silent(line: Line) -> None:
    assert line.passes(100_000) is None


def test_one_that_is_silent_for_longer_than_it_said_and_a_while_is_told(line: Line) -> None:
    line.tell(math.inf)
    line.tell(5.0)
    assert line.passes(10) is None
    found = line.passes(20)
    assert found is not None
    assert found > 5.0


def test_each_word_begins_anew_and_the_last_limit_counts(line: Line) -> None:
    for _ in range(100):
        line.tell(5.0)
        assert line.passes(10) is None
    line.tell(math.inf)
    assert line.passes(1000) is None


def test_a_parent_that_was_stopped_itself_does_not_count_that_time(line: Line) -> None:
    line.tell(5.0)
    assert line.passes(1) is None
    line.now += 10_000.0
    assert line.listener.silence() is None


def test_a_worker_that_was_stopped_begins_anew(line: Line) -> None:
    line.tell(5.0)
    assert line.passes(14) is None
    line.listener.forgive()
    assert line.passes(14) is None


def test_a_worker_whose_parent_reads_nothing_or_has_gone_is_not_held_up() -> None:
    listener = HeartbeatListener()
    tell = Heartbeat(listener.write)
    for _ in range(100_000):
        tell(3600.0)
    listener.close()
    tell(3600.0)
    os.close(listener.write)
