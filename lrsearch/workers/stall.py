"""End a worker process whose training makes no progress any more."""

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

from lrsearch.objectives.silence import SHORTEST, silence_limit
from lrsearch.workers.exit_codes import ExitCode
from lrsearch.workers.process_tree import end_this_process

_INTERVAL = 1.0
"""Seconds between two checks."""
_RECORD_TIMEOUT = 30.0
"""Seconds within which the cause must be recorded; then the process ends without a record."""

_log = logging.getLogger(__name__)


class StallWatch:
    """Watches one training from a thread beside it, and ends the process when it stalls.

    Only seconds in which this process could run are counted, not those in which it was stopped
    (SIGSTOP) or the machine was suspended.
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
        """Set up the watch.

        `timeout` is in seconds. None is an hour. With the user's own training loop (`own_loop`) it
        is as `silence_limit` says. `record(cause)` stores why the process ends.
        `alive(limit)` is called at each check; a silence of more than `limit` seconds after it
        means that the process cannot run.
        """
        self._timeout, self._own_loop = timeout, own_loop
        self._record, self._alive, self._end_process = record, alive, end_process
        self._clock, self._interval = clock, interval
        # Written by the training's thread alone, read by the other: no lock is needed.
        self._beats = self._first = 0
        self._lengthy = self._waiting = 0
        self._reported_at = clock()
        self._longest_gap: float | None = None
        # Used by the watching thread alone.
        self._seen = 0
        self._idle = 0.0
        self._checked_at = clock()

    @contextmanager
    def training(self) -> Iterator[None]:
        """Watch the training in the block. What precedes its first step may take an hour."""
        self._reported_at, self._longest_gap = self._clock(), None
        self._idle, self._checked_at, self._first = 0.0, self._clock(), self._beats
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
        """Note a sign of life: a training step or a batch of an evaluation is done, for example."""
        self._beats += 1

    def reported(self) -> None:
        """Note that an evaluation was reported."""
        now = self._clock()
        self._longest_gap = max(self._longest_gap or 0.0, now - self._reported_at)
        self._reported_at = now
        self.progress()

    @contextmanager
    def lengthy(self) -> Iterator[None]:
        """Allow the block, which reports no steps, an hour at least."""
        self._lengthy += 1
        try:
            yield
        finally:
            self._lengthy -= 1
            self.progress()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Suspend the limit within the block, in which the training waits for the database."""
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1
            self.progress()

    def limit(self) -> float:
        """Return the seconds without progress after which the training counts as stalled."""
        if self._waiting:
            return math.inf
        if self._timeout is not None:
            limit = self._timeout
        elif not self._own_loop:
            limit = SHORTEST
        else:
            limit = silence_limit(self._longest_gap)
        # Before its first step lrsearch's own training reads data, builds and compiles a model.
        starting = not self._own_loop and self._beats == self._first
        return max(limit, SHORTEST) if self._lengthy or starting else limit

    def stalled_for(self) -> float | None:
        """Return the seconds without progress where they exceed the limit, else None."""
        now, beats = self._clock(), self._beats
        if beats != self._seen or self._waiting:
            self._idle = 0.0
        else:
            # Where more time has passed since the last check, this process did not run.
            self._idle += min(now - self._checked_at, self._interval)
        self._seen, self._checked_at = beats, now
        return self._idle if self._idle > self.limit() else None

    def _watch(self, over: threading.Event) -> None:
        while not over.wait(self._interval):
            self._alive(self.limit())
            if (seconds := self.stalled_for()) is not None:
                self._end(seconds)
                return

    def _end(self, seconds: float) -> None:
        """Log and record the cause, and end the process, whatever of that fails."""
        # Writing to the log or the database may hang, too.
        backstop = threading.Timer(_RECORD_TIMEOUT, self._end_process, [ExitCode.STALLED])
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
        self._end_process(ExitCode.STALLED)


def no_progress(seconds: float) -> str:
    """Return why a worker was ended, and what to do if that was wrong."""
    return (
        f"the training made no progress for {seconds:.0f} s "
        f"(if it needs longer, set queue.stall_timeout to more seconds)"
    )
