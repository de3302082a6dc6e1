"""What a parent hears of its workers, and when it has heard nothing for too long."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lrsearch.errors import UserError
from lrsearch.workers.heartbeat import Heartbeat, HeartbeatListener, keep_touching


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


def test_a_parent_hears_that_some_work_has_ended(line: Line) -> None:
    line.tell(5.0)
    assert line.passes(1) is None
    assert not line.listener.has_worked
    line.tell.worked()
    line.tell(5.0)
    assert line.passes(1) is None
    assert line.listener.has_worked
    assert line.passes(30) is not None  # the limit is still what it was


def test_a_file_is_touched_for_as_long_as_threads_run(tmp_path: Path) -> None:
    file, turns = tmp_path / "alive", threading.Semaphore(0)
    waits: list[float] = []
    is_touched = threading.Event()

    def wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) > 1:
            is_touched.set()
        turns.acquire()

    keep_touching(file, wait)
    assert file.exists()
    os.utime(file, (0, 0))
    turns.release()
    assert is_touched.wait(60.0)
    assert file.stat().st_mtime > 0
    assert max(waits) <= 5.0


def test_a_file_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot write .*No such file"):
        keep_touching(tmp_path / "missing" / "alive")
