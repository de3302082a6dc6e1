"""Run a command in a process group of its own, and leave none of its processes behind.

A program by itself, which imports little of the standard library so that it starts at once:

    python -I -S supervisor.py GRACE STATUS COMMAND [ARGUMENT ...]

It reads orders from its standard input: `stop` sends SIGTERM to the command's process group, and
SIGKILL to all that is left after GRACE seconds; `kill`, or the end of the input, kills at once.
When the command has ended, STATUS is the file that holds its exit code, or -N for signal N.

On Linux it adopts processes whose parent has ended (PR_SET_CHILD_SUBREAPER). So it also ends those
that made groups or sessions of their own, such as the workers of torchrun.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import sys
import time

LINGER = 0.5
"""Seconds that other processes of the command have to end after it has."""
_LONGEST_KILL = 10.0
"""Seconds within which killed processes must be gone; one that waits for a device may not be."""
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_IGNORED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
"""Signals that a cluster may send to every process: the worker gives the orders."""


def main(grace: float, status: str, command: list[str]) -> None:
    """Run the command to its end, or until it is ordered to end."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    wake_up, write_end = os.pipe()
    for descriptor in (wake_up, write_end):
        os.set_blocking(descriptor, False)
    signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    pid = _start(command)
    code: int | None = None
    deadline: float | None = None
    inputs = [0, wake_up]
    while True:
        if (ended := _reap(pid)) is not None:
            code = ended
            deadline = deadline or time.monotonic() + LINGER
        if code is not None and not _has_children():
            break
        now = time.monotonic()
        if deadline is not None and now >= deadline:
            break
        wait = None if deadline is None else deadline - now
        # Orphans that end are noticed by SIGCHLD, too.
        readable = select.select(inputs, [], [], wait)[0]
        if wake_up in readable:
            with contextlib.suppress(BlockingIOError):
                os.read(wake_up, 4096)
        if 0 in readable:
            order = os.read(0, 4096)
            if not order or b"kill" in order:
                break
            if b"stop" in order and (deadline is None or code is not None):
                deadline = time.monotonic() + grace
                with contextlib.suppress(OSError):
                    os.killpg(pid, signal.SIGTERM)
    killed = _kill_all(pid)
    code = code if code is not None else killed
    with open(f"{status}.new", "w") as file:  # noqa: PTH123
        file.write(f"{-signal.SIGKILL if code is None else code}\n")
    os.replace(f"{status}.new", status)  # noqa: PTH105


def _start(command: list[str]) -> int:
    """Start the command; it is killed if this process dies."""
    own = os.getpid()
    pid = os.fork()
    if pid:
        with contextlib.suppress(OSError):
            os.setpgid(pid, pid)  # so that the group exists, whoever of the two is first
        return pid
    try:
        with contextlib.suppress(OSError):
            os.setsid()
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != own:
            os._exit(1)
        signal.set_wakeup_fd(-1)
        for number in (*_IGNORED, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.execv(command[0], command)
    except OSError as error:
        os.write(2, f"{command[0]}: {error.strerror}\n".encode(errors="replace"))
    finally:
        os._exit(127)


def _reap(pid: int) -> int | None:
    """Reap the processes that have ended; return the exit code of `pid` if it is among them."""
    code = None
    with contextlib.suppress(ChildProcessError):
        while True:
            ended, status = os.waitpid(-1, os.WNOHANG)
            if ended == 0:
                break
            if ended == pid:
                code = os.waitstatus_to_exitcode(status)
    return code


def _has_children() -> bool:
    """Whether a process of the command is left: all are children, or below one."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _kill_all(pid: int) -> int | None:
    """Kill all that is left; return the exit code of `pid` if it ends by that."""
    code = None
    until = time.monotonic() + _LONGEST_KILL
    while time.monotonic() < until:
        with contextlib.suppress(OSError):
            os.killpg(pid, signal.SIGKILL)
        for other in _descendants():
            with contextlib.suppress(OSError):
                os.kill(other, signal.SIGKILL)
        if (ended := _reap(pid)) is not None:
            code = ended
        if not _has_children():
            break
        time.sleep(0.01)
    return code


def _descendants() -> list[int]:
    """The processes below this one, as /proc lists them; none on systems without it."""
    children: dict[int, list[int]] = {}
    with contextlib.suppress(OSError):
        for name in filter(str.isdigit, os.listdir("/proc")):  # noqa: PTH208
            with contextlib.suppress(OSError, ValueError), open(f"/proc/{name}/stat") as file:  # noqa: PTH123
                parent = int(file.read().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(name))
    found, rest = [], [os.getpid()]
    while rest:
        below = children.get(rest.pop(), [])
        found += below
        rest += below
    return found


def _prctl(option: int, value: int) -> None:
    """Set an attribute of this process; without effect on other systems than Linux."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    main(float(sys.argv[1]), sys.argv[2], sys.argv[3:])
