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
    worked: Callable[[], None] = lambda: None
    """Report to the parent process, if any, that some work has been run to its end."""
    owns_process: bool = True
    """Whether the process is a worker's own, and may be ended where its training stalls."""
    is_interruptible: bool = False
    """Whether Ctrl-C raises KeyboardInterrupt in the training, rather than being handled."""


def stop_on_signals(parent: int | None, heartbeat: int | None = None) -> Stop:
    """Install signal handlers and return the `Stop` that they set.

    SIGTERM and SIGUSR1, which clusters send, set it, and Ctrl-C (SIGINT), also where the user's
    code has put handlers of its own in the place of these. With a `parent` process Ctrl-C is
    ignored, since the parent passes it on; the end of the parent sets it, too, and ORPHAN_SECONDS
    later this process is killed with all that it has started. `heartbeat` is the file descriptor
    of the pipe to the parent.
    """
    stopping = threading.Event()
    stops = [signal.SIGTERM, signal.SIGUSR1, *([signal.SIGINT] if parent is None else [])]
    for number in stops:
        signal.signal(number, lambda *_: stopping.set())
    arrived = _signals_that_arrive()
    if parent is not None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        threading.Thread(
            target=_end_after, args=(parent,), name="parent watch", daemon=True
        ).start()

    def is_set() -> bool:
        if not {*stops}.isdisjoint(arrived()):
            stopping.set()
        return stopping.is_set() or (parent is not None and os.getppid() != parent)

    def wait(seconds: float) -> bool:
        stopping.wait(seconds)
        return is_set()

    if heartbeat is None:
        return Stop(is_set, wait)
    beat = Heartbeat(heartbeat)
    return Stop(is_set, wait, beat, beat.worked)


def _signals_that_arrive() -> Callable[[], bytes]:
    """Return a function that returns the numbers of the signals since its last call.

    Python writes them to a pipe, whichever function of Python handles the signal.
    """
    reader, writer = os.pipe()
    for end in (reader, writer):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    # The signals of a process that is forked, such as one of a DataLoader, are its own.
    os.register_at_fork(after_in_child=lambda: signal.set_wakeup_fd(-1))

    def arrived() -> bytes:
        try:
            return os.read(reader, 4096)
        except BlockingIOError:
            return b""

    return arrived


def _end_after(parent: int) -> None:
    """End this process ORPHAN_SECONDS after its parent."""
    while os.getppid() == parent:
        time.sleep(1.0)
    time.sleep(ORPHAN_SECONDS)
    end_this_process(1)
