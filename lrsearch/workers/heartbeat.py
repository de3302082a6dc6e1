"""A pipe from a worker to its parent, on which the worker says that its threads can run.

Code that holds Python's global lock for ever stops every thread of a worker, also the one that
would end it: only another process can.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable

_LONGEST_LOOK = 5.0
"""Seconds: a longer time between two looks is one in which the parent itself did not run."""
_GRACE = 10.0
"""Seconds: a worker that can end itself does so first, and says more."""


class Heartbeat:
    """The worker's end."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        os.set_inheritable(descriptor, False)
        os.set_blocking(descriptor, False)

    def __call__(self, limit: float) -> None:
        """Say that the process runs, and for how many seconds it may be silent after this."""
        with contextlib.suppress(OSError):  # the parent is gone, or stopped and does not read
            os.write(self._descriptor, f"{limit!r}\n".encode())


class Heard:
    """The parent's end."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._read, self.write = os.pipe()
        """`write` is to be inherited by the worker, and then closed here."""
        os.set_blocking(self._read, False)
        self._clock = clock
        self._limit, self._silence, self._looked = math.inf, 0.0, clock()

    def started(self) -> None:
        """The worker has its end."""
        os.close(self.write)

    def silence(self) -> float | None:
        """The seconds for which the worker has said nothing, where they are beyond its limit."""
        now = self._clock()
        said = b""
        with contextlib.suppress(BlockingIOError):
            while part := os.read(self._read, 65536):
                said = said[-64:] + part
        if limits := said.split(b"\n")[:-1]:
            self._limit, self._silence = float(limits[-1]), 0.0
        else:
            self._silence += min(now - self._looked, _LONGEST_LOOK)
        self._looked = now
        return self._silence if self._silence > self._limit + _GRACE else None

    def forgive(self) -> None:
        """The worker is stopped: it could not have said anything."""
        self._silence = 0.0

    def close(self) -> None:
        """Free the pipe."""
        os.close(self._read)
