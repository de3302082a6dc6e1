"""Kill processes together with all that they have started."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator

import psutil


def end_this_process(code: int) -> None:
    """Kill all that this process has started, and exit at once, whatever its threads are doing."""
    with contextlib.suppress(psutil.Error, OSError):
        for process in [*_descendants(os.getpid()), *_rest_of_session()]:
            with contextlib.suppress(psutil.Error):
                process.kill()
    os._exit(code)


def kill_tree(pid: int) -> None:
    """Kill a process that leads a process group of its own, and all that it has started."""
    for process in _descendants(pid):
        with contextlib.suppress(psutil.Error):
            process.kill()
    kill_group(pid)


def kill_group(pid: int) -> None:
    """Kill the processes left in the group that process `pid` leads, or has led."""
    with contextlib.suppress(OSError):
        os.killpg(pid, signal.SIGKILL)


def _descendants(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return []


def _rest_of_session() -> Iterator[psutil.Process]:
    """Yield the others of this process's session, where it leads one.

    Among them are children of dead children, which `_descendants` misses.
    """
    own = os.getpid()
    if os.getsid(0) != own:
        return
    for process in psutil.process_iter():
        with contextlib.suppress(OSError):
            if process.pid != own and os.getsid(process.pid) == own:
                yield process


def is_stopped(pid: int) -> bool:
    """Return whether a process was stopped (SIGSTOP), and does not run."""
    with contextlib.suppress(psutil.Error):
        return psutil.Process(pid).status() == psutil.STATUS_STOPPED
    return False
