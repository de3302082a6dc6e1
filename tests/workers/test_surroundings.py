"""What the user's code does to its process in a training, which others still need afterwards."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from lrsearch.text.redaction import GuardedOutput
from lrsearch.workers.surroundings import signals_kept, surroundings_kept


@contextmanager
def error_output(file: Path) -> Iterator[None]:
    """Let the standard error go to a file, as that of a worker does.

    No fixture: pytest sets the streams again between the set-up and the test.
    """
    descriptor, streams = os.dup(2), (sys.stderr, sys.__stderr__)
    with file.open("w") as opened:
        os.dup2(opened.fileno(), 2)
    stream = os.fdopen(2, "w", 1, closefd=False)
    sys.stderr, sys.__stderr__ = GuardedOutput(stream, expendable=True), stream  # type: ignore
    try:
        yield
    finally:
        sys.stderr, sys.__stderr__ = streams  # type: ignore[misc]
        os.dup2(descriptor, 2)
        os.close(descriptor)


def closed_stream() -> None:
    sys.stderr.close()


def closed_inner_stream() -> None:
    assert sys.__stderr__ is not None
    sys.__stderr__.close()


def closed_descriptor() -> None:
    os.close(2)


def other_descriptor() -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)


def replaced_stream() -> None:
    sys.stderr = None


@pytest.mark.parametrize(
    "close",
    [closed_stream, closed_inner_stream, closed_descriptor, other_descriptor, replaced_stream],
)
def test_a_worker_still_has_its_log_after_the_users_code_has_closed_it(
    tmp_path: Path, close: Callable[[], None]
) -> None:
    log = tmp_path / "worker.log"
    with error_output(log):
        handler = logging.StreamHandler(sys.stderr)
        for number in range(2):
            with surroundings_kept():
                close()
            handler.emit(logging.makeLogRecord({"msg": f"logged after attempt {number}"}))
            print(f"printed after attempt {number}", file=sys.stderr, flush=True)
    assert log.read_text().splitlines() == [
        f"{how} after attempt {number}" for number in range(2) for how in ("logged", "printed")
    ]


def test_no_descriptor_is_left_open() -> None:
    def count() -> int:
        return len([*Path("/proc/self/fd").iterdir()])

    with surroundings_kept():
        pass
    before = count()
    with surroundings_kept():
        pass
    assert count() == before


@pytest.mark.parametrize("kept", [signals_kept, surroundings_kept])
@pytest.mark.parametrize(
    ("error", "code"), [(None, 0), (ValueError("in the child"), 1), (SystemExit(3), 3)]
)
def test_a_forked_copy_of_the_worker_ends_with_the_attempt(
    kept: Callable[[], AbstractContextManager[None]], error: BaseException | None, code: int
) -> None:
    child = -1
    try:
        with kept():
            child = os.fork()
            if child == 0 and error is not None:
                raise error
    finally:
        if child == 0:
            os._exit(99)  # what must not be reached
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == code
