"""Ends this process when the training in it makes no progress any more."""

from __future__ import annotations

import faulthandler
import io
import logging
import math
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from lrsearch.workers.process_tree import end_this_process

EXIT_CODE = 70
"""Of a worker that was ended because its training made no progress."""
SHORTEST = 3600.0
"""Seconds: the shortest limit that lrsearch sets by itself."""
GAPS = 10
"""A training of the user's own may take this many times its longest time between two reports."""

_INTERVAL = 1.0
"""Seconds between two looks."""
_LAST_WORDS = 30.0
"""Seconds in which the end of the process must be recorded, or it ends without a record."""

_log = logging.getLogger(__name__)


class StallWatch:
    """Watches one training from a thread beside it, and ends the process when it stalls.

    Only seconds in which this process could run are counted: one that was stopped (SIGSTOP) or
    suspended goes on where it was.
    """

    def __init__(
        self,
        timeout: float | None,
        own_loop: bool,
        record: Callable[[str], None],
        alive: Callable[[float], None] = lambda limit: None,
        *,
        clock: Callable[[], float] = time.monotonic,
        interval: float = _INTERVAL,
        end_process: Callable[[int], None] = end_this_process,
    ) -> None:
        """`timeout` is in seconds; None is an hour, or for the user's `own_loop` by its reports.

        `record(cause)` writes down why the process ends. `alive(limit)` is called at each look
        with the seconds for which no look at all would mean that the process cannot run.
        """
        self._timeout, self._own_loop = timeout, own_loop
        self._record, self._alive, self._end_process = record, alive, end_process
        self._clock, self._interval = clock, interval
        # Written by the training's thread alone, read by the other: no lock is needed.
        self._beats = self._first = 0
        self._lengthy = self._waiting = 0
        self._reported_at: float | None = None
        self._longest_gap: float | None = None
        # The watching thread's own.
        self._seen = 0
        self._idle = 0.0
        self._looked = clock()

    @contextmanager
    def training(self) -> Iterator[None]:
        """Watch what happens in the block; what comes before the first step may take long."""
        self._reported_at = self._longest_gap = None
        self._idle, self._looked, self._first = 0.0, self._clock(), self._beats
        over = threading.Event()
        thread = threading.Thread(target=self._watch, args=(over,), name="stall watch", daemon=True)
        self._alive(self.limit())
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
            self._alive(math.inf)

    def progress(self) -> None:
        """A step or a batch of an evaluation is done."""
        self._beats += 1

    def reported(self) -> None:
        """An evaluation is done."""
        now = self._clock()
        if self._reported_at is not None:
            self._longest_gap = max(self._longest_gap or 0.0, now - self._reported_at)
        self._reported_at = now
        self.progress()

    @contextmanager
    def lengthy(self) -> Iterator[None]:
        """What happens in the block has no steps, and may take an hour at least."""
        self._lengthy += 1
        try:
            yield
        finally:
            self._lengthy -= 1
            self.progress()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """The training waits for the database in the block: that is no fault of its own."""
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1
            self.progress()

    def limit(self) -> float:
        """Seconds without progress after which the training counts as stalled."""
        if self._waiting:
            return math.inf
        if self._timeout is not None:
            limit = self._timeout
        elif not self._own_loop:
            limit = SHORTEST
        elif self._longest_gap is None:
            return math.inf
        else:
            limit = max(SHORTEST, GAPS * self._longest_gap)
        # Before its first step lrsearch's own training reads data, builds and compiles a model.
        starting = not self._own_loop and self._beats == self._first
        return max(limit, SHORTEST) if self._lengthy or starting else limit

    def look(self) -> float | None:
        """The seconds without progress, where they are beyond the limit."""
        now, beats = self._clock(), self._beats
        if beats != self._seen or self._waiting:
            self._idle = 0.0
        else:
            # A longer time since the last look is one in which this process did not run.
            self._idle += min(now - self._looked, 2 * self._interval)
        self._seen, self._looked = beats, now
        return self._idle if self._idle > self.limit() else None

    def _watch(self, over: threading.Event) -> None:
        while not over.wait(self._interval):
            self._alive(self.limit())
            if (seconds := self.look()) is not None:
                self._end(seconds)
                return

    def _end(self, seconds: float) -> None:
        """Say why, record it, and end the process, whatever fails of that."""
        # The log or the database may be what hangs.
        backstop = threading.Timer(_LAST_WORDS, self._end_process, [EXIT_CODE])
        backstop.daemon = True
        backstop.start()
        cause = no_progress(seconds)
        _log.error("%s; this worker ends. What it was doing:", cause)
        with suppress(OSError, ValueError, io.UnsupportedOperation):
            faulthandler.dump_traceback(sys.stderr, all_threads=True)
        try:
            self._record(cause)
        except Exception:  # noqa: BLE001 - the lease runs out, or the parent records it
            _log.exception("the end could not be recorded")
        backstop.cancel()
        self._end_process(EXIT_CODE)


def no_progress(seconds: float) -> str:
    """Why a worker was ended, and what to do if that was wrong."""
    return (
        f"the training made no progress for {seconds:.0f} s "
        f"(if it needs longer, set queue.stall_timeout to more seconds)"
    )
