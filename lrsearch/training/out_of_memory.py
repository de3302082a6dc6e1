"""Whether a training ran out of memory: by its error, by what it printed, or by a kill.

Imports neither torch nor any other framework, whose errors are recognised by their names.
"""

from __future__ import annotations

import errno
import re
from pathlib import Path

from lrsearch.errors import OwnCodeError

_CLASSES = frozenset({"OutOfMemory", "OutOfMemoryError"})
"""Names of error classes: lrsearch's own, and those of torch and CuPy."""
_MESSAGE = re.compile(
    r"""
    \b(CUDA|HIP|XPU|MPS\ backend)\ out\ of\ memory
    | \b(CUDA|HIP|XPU|Triton)\b.{0,20}\b[Ee]rror\b.{0,10}:\ out\ of\ memory  # also driver errors
    | \b(Cuda|HIP)\ failure\b.{0,10}'out\ of\ memory'                          # NCCL, RCCL
    | \b(cudaErrorMemoryAllocation | CUDA_ERROR_OUT_OF_MEMORY | hipErrorOutOfMemory)\b
    | \b[A-Z]+(_STATUS)?_ALLOC_FAILED\b                # cuBLAS, cuDNN, cuSPARSE, cuFFT, hipBLAS
    | \bCUDNN_STATUS_\w*ALLOCATION_FAILED\b
    | \bmiopenStatusAllocFailed\b
    | \bInvalid\ buffer\ size:\ [\d.]                  # MPS, one tensor larger than the memory
    | \bDefaultCPUAllocator:\ (can't\ allocate | not\ enough)\ memory
    | \bRESOURCE_EXHAUSTED:                            # JAX and TensorFlow
    | \bCannot\ allocate\ memory\b                     # the system's words for ENOMEM
    | \bstd::bad_alloc\b
    """,
    re.VERBOSE,
)
"""Messages of allocators that found no memory."""
_RAISED = re.compile(r"(?:\[rank\d+\]:\s*)?(?:[\w.]+\.)?(?:_Array)?(?:OutOf)?MemoryError\b")
"""The start of a line that ends a Python traceback; torchrun puts the rank before it."""
_CHILD_KILLED = re.compile(
    r"DataLoader worker \(pid.*\) (is killed by signal: (Killed|Terminated)|exited unexpectedly)"
    r"|process pool was terminated abruptly"
)
"""Messages about a process that the training had started, and that was killed."""
_CGROUPS, _OWN_CGROUP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory ran out, on a device or on the host.

    The error from which it was raised, or during whose handling, counts, too, unless it was raised
    `from None`. Of a group any error counts.
    """
    return out_of_memory_cause(error) is not None


def out_of_memory_cause(error: BaseException) -> BaseException | None:
    """Return the error, of those that count for `is_out_of_memory`, that says so; None else."""
    seen: set[int] = set()
    pending: list[BaseException | None] = [error]
    while pending:
        current = pending.pop()
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        if _says_out_of_memory(current):
            return current
        if isinstance(current, BaseExceptionGroup):
            pending.extend(current.exceptions)
        pending.append(current.__cause__)
        if not current.__suppress_context__:
            pending.append(current.__context__)
    return None


def said_of_memory(error: BaseException) -> str:
    """Return the class and message of the error that says that memory ran out; empty for others."""
    cause = out_of_memory_cause(error)
    return "" if cause is None else f"{type(cause).__name__}: {_text_of(cause)}"


def _says_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError) or any(
        base.__name__ in _CLASSES for base in type(error).__mro__
    ):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    # The message of an OwnCodeError has the traceback of the user's code.
    if isinstance(error, RuntimeError | OwnCodeError):
        return out_of_memory_message(_text_of(error)) is not None
    return False


def out_of_memory_message(text: str) -> str | None:
    """Return the last line of a text, such as a program's output, that says that memory ran out.

    None where no line does.
    """
    for line in reversed(text.splitlines()):
        if _MESSAGE.search(line) or _RAISED.match(line):
            return line.strip()
    return None


def was_child_killed(error: BaseException) -> bool:
    """Return whether an error says that a process started by the training was killed.

    A worker of a DataLoader or of a process pool, for example. Whether for want of memory is known
    from `OomKills`.
    """
    return bool(_CHILD_KILLED.search(_text_of(error)))


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException:  # noqa: BLE001 - an exception's own methods can raise anything
        return ""


class OomKills:
    """Counts the processes of this process's cgroup that the kernel killed for want of memory.

    Without cgroups, as on macOS, the count stays 0.
    """

    def __init__(self, cgroups: Path = _CGROUPS, own: Path = _OWN_CGROUP) -> None:
        """Begin to count. `cgroups` is where cgroups are mounted; `own` names those of a process.

        The layout of both: man 7 cgroups. Inside a container the own path may not exist below the
        mount point, which then is the container's cgroup itself.
        """
        self._file = _counter(cgroups, own)
        self._counted = self._read()

    def new(self) -> int:
        """Return the number of kills since the last call, or since the beginning."""
        before, self._counted = self._counted, self._read()
        return max(0, self._counted - before)

    def _read(self) -> int:
        if self._file is None:
            return 0
        try:
            fields = [line.split() for line in self._file.read_text().splitlines()]
            return next((int(field[1]) for field in fields if field[0] == "oom_kill"), 0)
        except (OSError, ValueError, IndexError):
            return 0


def _counter(cgroups: Path, own: Path) -> Path | None:
    """Return the file with the count `oom_kill` of the cgroup that limits memory."""
    try:
        lines = [line.split(":", 2) for line in own.read_text().splitlines()]
    except OSError:
        return None
    paths = {controllers: path.lstrip("/") for _, controllers, path in lines if path}
    first = next((path for names, path in paths.items() if "memory" in names.split(",")), None)
    candidates = []
    if first is not None:  # version 1
        memory = cgroups / "memory"
        candidates += [memory / first / "memory.oom_control", memory / "memory.oom_control"]
    if (unified := paths.get("")) is not None:  # version 2, alone or beside version 1
        candidates += [
            cgroups / unified / "memory.events",
            cgroups / "memory.events",
            cgroups / "unified" / unified / "memory.events",
        ]
    return next((file for file in candidates if file.is_file()), None)
