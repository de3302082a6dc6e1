"""Processes beside that of a test: forked, so that they cost no imports."""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Callable


def in_a_process(action: Callable[[], object]) -> Callable[[], int]:
    """Begins the action in a process of its own; what waits for that, and gives its exit code."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            signal.alarm(60)  # the test may be gone
            action()
            code = 0
        except BaseException:
            traceback.print_exc()
            raise
        finally:
            os._exit(code)
    return lambda: os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def at_one_instant(count: int, action: Callable[[], object]) -> list[int]:
    """Has so many processes do the same at once; their exit codes."""
    wait_for_it, begin = os.pipe()

    def act() -> None:
        os.close(begin)
        os.read(wait_for_it, 1)  # returns when nobody holds the other end any more
        action()

    waits = [in_a_process(act) for _ in range(count)]
    os.close(begin)
    codes = [wait() for wait in waits]
    os.close(wait_for_it)
    return codes
