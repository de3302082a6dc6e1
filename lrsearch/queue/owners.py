"""Names of the owners of work: a process by host, process id and start time.

The start time tells it from a later process with the same id.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

import psutil

_START_FIELD = 19
"""Index of the start time among the fields of `/proc/PID/stat` after the name: field 22 in all."""


def host_name() -> str:
    """Return the name of this host with its PID namespace, which tells containers apart."""
    try:
        # Process ids are unique within one PID namespace only.
        space = Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        return socket.gethostname()
    return f"{socket.gethostname()}:{space}"


def owner_name() -> str:
    """Return the owner name of this process."""
    pid = os.getpid()
    return f"{host_name()}/{pid}/{_started(pid)}"


def is_dead(owner: str) -> bool:
    """Return whether an owner is certainly dead: of this host, and no longer running."""
    host, pid, started = owner.rsplit("/", 2)
    if host != host_name():
        return False
    try:
        is_another = _started(int(pid)) != started
        return is_another or psutil.Process(int(pid)).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _started(pid: int) -> str:
    """Return the start time of a process. Raises psutil.NoSuchProcess.

    On Linux in ticks since the machine started: the time that psutil returns changes when the
    clock is set.
    """
    if not psutil.LINUX:
        return f"{psutil.Process(pid).create_time():.2f}"
    try:
        # The second field, the name in brackets, may hold spaces and brackets (man 5 proc).
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        raise psutil.NoSuchProcess(pid) from None
    return fields[_START_FIELD]
