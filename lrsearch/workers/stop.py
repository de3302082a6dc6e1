"""How a worker is told to stop. Imports nothing heavy: signals may come at once."""

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
"""Seconds that a worker has to save and hand back its trial when its parent has ended."""


@dataclass(frozen=True)
class Stop:
    """Asked often, and waited for."""

    is_set: Callable[[], bool]
    wait: Callable[[float], bool]
    """Waits so many seconds, or until it is set; whether it is set."""
    alive: Callable[[float], None] = lambda limit: None
    """Tells the parent, if there is one, that this process runs, and how many seconds of silence
    from now on mean that it does not."""


def stop_on_signals(parent: int | None, heartbeat: int | None = None) -> Stop:
    """Set by SIGTERM and SIGUSR1, as clusters send them, and by Ctrl-C.

    With `parent`, also when that process ends: nobody would see what this one does. Who does not
    end of itself is then ended, with all that it has started. Ctrl-C is the parent's, which passes
    it on. `heartbeat` is the descriptor of the pipe to it.
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
    """End this process a while after its parent."""
    while os.getppid() == parent:
        time.sleep(1.0)
    time.sleep(ORPHAN_SECONDS)
    end_this_process(1)
