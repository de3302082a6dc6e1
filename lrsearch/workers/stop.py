"""Signals that stop a worker.

Imports nothing heavy, so that the handlers are installed right after the start of the process.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from lrsearch.workers.heartbeat import Heartbeat
from lrsearch.workers.process_tree import end_this_process

ORPHAN_SECONDS = 30.0
"""Seconds that a worker has to save and hand back its trial after its parent has ended."""


@dataclass(frozen=True)
class Stop:
    """A request to stop that a worker polls or waits for."""

    is_set: Callable[[], bool]
    """Return whether the worker is to stop."""
    wait: Callable[[float], bool]
    """Wait for a number of seconds, or until the request is made; return whether it was."""
    alive: Callable[[float], None] = lambda limit: None
    """Report to the parent process, if any, that this one runs, and may be silent for `limit`
    seconds from now on."""


def stop_on_signals(parent: int | None, heartbeat: int | None = None) -> Stop:
    """Install signal handlers and return the `Stop` that they set.

    SIGTERM and SIGUSR1, which clusters send, set it, and Ctrl-C (SIGINT). With a `parent` process
    Ctrl-C is ignored, since the parent passes it on; the end of the parent sets it, too, and
    ORPHAN_SECONDS later this process is killed with all that it has started. `heartbeat` is the
    file descriptor of the pipe to the parent.
    """
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, lambda *_: stopping.set())
    if parent is None:
        signal.signal(signal.SIGINT, lambda *_: stopping.set())
    else:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        threading.Thread(
            target=_end_after, args=(parent,), name="parent watch", daemon=True
        ).start()

    def is_set() -> bool:
        return stopping.is_set() or (parent is not None and os.getppid() != parent)

    def wait(seconds: float) -> bool:
        stopping.wait(seconds)
        return is_set()

    return Stop(is_set, wait) if heartbeat is None else Stop(is_set, wait, Heartbeat(heartbeat))


def _end_after(parent: int) -> None:
    """End this process ORPHAN_SECONDS after its parent."""
    while os.getppid() == parent:
        time.sleep(1.0)
    time.sleep(ORPHAN_SECONDS)
    end_this_process(1)
