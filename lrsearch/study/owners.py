"""Who owns a unit: a process by host, number and start, so that no later one has its name."""

from __future__ import annotations

import socket
from pathlib import Path

import psutil

_CLOCK_SECONDS = 30
"""A process that seems to have started so much earlier or later is another one."""


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
    process = psutil.Process()
    return f"{host_name()}/{process.pid}/{process.create_time():.2f}"


def is_dead(owner: str) -> bool:
    """Whether an owner is known to be gone: of this host, and no longer running."""
    host, pid, started = owner.rsplit("/", 2)
    if host != host_name():
        return False
    try:
        process = psutil.Process(int(pid))
        # The start is reckoned from the clock, which may have been set since.
        another = abs(process.create_time() - float(started)) > _CLOCK_SECONDS
        return another or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
