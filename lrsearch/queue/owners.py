"""Names of the owners of work: processes, by machine, process id and start time.

`HOST:BOOT:NAMESPACE/PID/STARTED`. The boot id of the kernel and the inode of the PID namespace say
in which machine or container a process id is valid; the start time tells the process from a later
one with the same id. The host's name is for people alone: several machines may have the same.
"""

from __future__ import annotations

import os
import socket
import uuid
from pathlib import Path

import psutil

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
"""Linux's random identity of this start of the kernel."""
_NAMESPACE = Path("/proc/self/ns/pid")
"""Process ids are unique within one PID namespace only. (The first one of each start of Linux has
the same inode.)"""
_START_FIELD = 19
"""Index of the start time among the fields of `/proc/PID/stat` after the name: field 22 in all."""


def host_name() -> str:
    """Return the name of this machine for people; another may have the same."""
    return socket.gethostname()


def process_name(pid: int) -> str:
    """Return how the owner name of a process of this machine begins: all but its start time."""
    return f"{host_name()}:{_machine()}/{pid}"


def owner_name() -> str:
    """Return the owner name of this process."""
    pid = os.getpid()
    return f"{process_name(pid)}/{_started(pid)}"


def process_in_words(owner: str) -> str:
    """Return an owner name for people: `n2, process 73`."""
    machine, pid, _ = owner.rsplit("/", 2)
    return f"{machine.partition(':')[0]}, process {pid}"


def is_dead(owner: str) -> bool:
    """Return whether an owner is certainly dead: of this machine, and no longer running."""
    machine, pid, started = owner.rsplit("/", 2)
    if machine.partition(":")[2] != _machine():
        return False
    try:
        is_another = _started(int(pid)) != started
        return is_another or psutil.Process(int(pid)).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _machine() -> str:
    """Return the identity of what numbers processes: a start of a kernel, and a PID namespace."""
    try:
        boot, namespace = _BOOT_ID.read_text().strip(), _NAMESPACE.stat().st_ino
    except OSError:  # not Linux: the hardware address is the next best
        return f"{uuid.getnode():x}:0"
    return f"{boot.replace('-', '')}:{namespace}"


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
