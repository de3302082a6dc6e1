"""Who owns work: a process by host, number and start, so that no later one has its name."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import psutil

_START_FIELD = 19
"""Of `/proc/PID/stat` behind the name: the twenty-second in all."""


def host_name() -> str:
    """This host; of containers that share a host's name, this one."""
    try:
        # Numbers of processes mean something within one such space alone.
        space = Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        return socket.gethostname()
    return f"{socket.gethostname()}:{space}"


def owner_name() -> str:
    """This process."""
    pid = os.getpid()
    return f"{host_name()}/{pid}/{_started(pid)}"


def is_dead(owner: str) -> bool:
    """Whether an owner is known to be gone: of this host, and no longer running."""
    host, pid, started = owner.rsplit("/", 2)
    if host != host_name():
        return False
    try:
        is_another = _started(int(pid)) != started
        return is_another or psutil.Process(int(pid)).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _started(pid: int) -> str:
    """When a process started, which does not change when the clock is set.

    On Linux in ticks since the machine started: what psutil makes of it follows the clock.
    Raises psutil.NoSuchProcess.
    """
    if not psutil.LINUX:
        return f"{psutil.Process(pid).create_time():.2f}"
    try:
        # The second field, the name in brackets, may hold spaces and brackets (man 5 proc).
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        raise psutil.NoSuchProcess(pid) from None
    return fields[_START_FIELD]
