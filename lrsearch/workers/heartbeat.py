"""Heartbeat of a worker: a pipe on which it reports to its parent that its threads can run.

Code that holds Python's global interpreter lock (GIL) for ever stops every thread of a worker,
also the one that watches for stalls: only another process can end such a worker.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable

_LONGEST_CHECK = 5.0
"""Seconds between two checks that are counted at most: in a longer gap the parent did not run."""
_GRACE = 10.0
"""Extra seconds before the parent acts: a worker that still can ends itself, and logs why."""


class Heartbeat:
    """The worker's end of the pipe."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        os.set_inheritable(descriptor, False)
        os.set_blocking(descriptor, False)

    def __call__(self, limit: float) -> None:
        """Report that the process runs, and may be silent for `limit` seconds from now on."""
        with contextlib.suppress(OSError):  # the parent is gone, or stopped and does not read
            os.write(self._descriptor, f"{limit!r}\n".encode())


class HeartbeatListener:
    """The parent's end of the pipe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._read, self.write = os.pipe()
        """Descriptor that the worker inherits; `started` closes it in the parent."""
        os.set_blocking(self._read, False)
        self._clock = clock
        self.is_heard = False
        """Whether the worker has reported: it has started."""
        self._limit, self._silence, self._checked_at = math.inf, 0.0, clock()

    def started(self) -> None:
        """Close the parent's copy of the worker's end, once the worker has started."""
        os.close(self.write)

    def silence(self) -> float | None:
        """Return the seconds without a heartbeat where they exceed the limit, else None."""
        now = self._clock()
        received = b""
        with contextlib.suppress(BlockingIOError):
            while part := os.read(self._read, 65536):
                received = received[-64:] + part
        if limits := received.split(b"\n")[:-1]:
            self._limit, self._silence, self.is_heard = float(limits[-1]), 0.0, True
        else:
            self._silence += min(now - self._checked_at, _LONGEST_CHECK)
        self._checked_at = now
        return self._silence if self._silence > self._limit + _GRACE else None

    def forgive(self) -> None:
        """Count the silence from 0 again: the worker was stopped (SIGSTOP)."""
        self._silence = 0.0

    def close(self) -> None:
        """Close the pipe."""
        os.close(self._read)
