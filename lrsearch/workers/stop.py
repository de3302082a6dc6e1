"""How a worker is told to stop. Imports nothing heavy: signals may come at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Stop:
    """Asked often, and waited for."""

    is_set: Callable[[], bool]
    wait: Callable[[float], bool]
    """Waits so many seconds, or until it is set; whether it is set."""


def stop_on_signals(parent: int | None) -> Stop:
    """Set by SIGTERM and SIGUSR1, as clusters send them, and by Ctrl-C.

    With `parent`, also when that process ends: nobody would see what this one does. Ctrl-C is
    then the parent's, which passes it on.
    """
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, lambda *_: stopping.set())
    if parent is None:
        signal.signal(signal.SIGINT, lambda *_: stopping.set())
    else:
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def is_set() -> bool:
        return stopping.is_set() or (parent is not None and os.getppid() != parent)

    def wait(seconds: float) -> bool:
        stopping.wait(seconds)
        return is_set()

    return Stop(is_set, wait)
