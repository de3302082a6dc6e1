"""Heartbeat of a worker: a pipe or a file by which it reports that its threads can run.

Code that holds Python's global interpreter lock (GIL) for ever stops every thread of a worker,
also the one that watches for stalls: only another process can end such a worker.
"""

from __future__ import annotations

import contextlib
import math
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from lrsearch.errors import UserError

_LONGEST_CHECK = 5.0
"""Seconds between two checks that are counted at most: in a longer gap the parent did not run."""
_WORKED = "worked"
_GRACE = 10.0
"""Extra seconds before the parent acts: a worker that still can ends itself, and logs why."""


_TOUCH_INTERVAL = 5.0
"""Seconds between two times that a heartbeat file is touched."""


def keep_touching(file: Path, wait: Callable[[float], object] = time.sleep) -> None:
    """Set a file's modification time every few seconds for as long as threads can run.

    Whoever reads its age, such as a liveness probe of Kubernetes, sees a process that is stopped,
    or whose code holds the GIL for ever. A training that stalls otherwise ends its process by
    itself. Raises UserError where the file cannot be written; later failures are ignored.
    """
    try:
        file.touch()
    except OSError as error:
        raise UserError(f"--heartbeat-file: cannot write {file}: {error.strerror}") from None

    def touch() -> None:
        while True:
            wait(_TOUCH_INTERVAL)
            with contextlib.suppress(OSError):
                file.touch()

    threading.Thread(target=touch, name="heartbeat file", daemon=True).start()


class Heartbeat:
    """The worker's end of the pipe."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        os.set_inheritable(descriptor, False)
        os.set_blocking(descriptor, False)

    def __call__(self, limit: float) -> None:
        """Report that the process runs, and may be silent for `limit` seconds from now on."""
        self._write(repr(limit))

    def worked(self) -> None:
        """Report that some work has been run to its end, whatever its outcome."""
        self._write(_WORKED)

    def _write(self, line: str) -> None:
        with contextlib.suppress(OSError):  # the parent is gone, or stopped and does not read
            os.write(self._descriptor, f"{line}\n".encode())


class HeartbeatListener:
    """The parent's end of the pipe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._read, self.write = os.pipe()
        """Descriptor that the worker inherits; `started` closes it in the parent."""
        os.set_blocking(self._read, False)
        self._clock = clock
        self.is_heard = False
        """Whether the worker has reported: it has started."""
        self.has_worked = False
        """Whether the worker has run any work to its end."""
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
                self.has_worked |= _WORKED.encode() in part
                received = received[-64:] + part
        lines = received.decode().split("\n")[:-1]
        if limits := [line for line in lines if line != _WORKED]:
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
