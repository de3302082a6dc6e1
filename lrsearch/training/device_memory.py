"""The memory of a GPU when a training ran out of it: how much of it other processes held."""

from __future__ import annotations

import re
from dataclasses import dataclass

from lrsearch.text.formatting import byte_size

CONTEXT = 2**30
"""Bytes that a process takes at most on a GPU besides what torch reserves: code, libraries."""
_UNITS = {"bytes": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_SIZE = r"([\d.]+) (bytes|[KMGT]iB)"
_TOTAL = re.compile(rf"total capacity of {_SIZE}|{_SIZE} total capacity")
_FREE = re.compile(rf"{_SIZE}(?: is)? free")
_OWN = (
    re.compile(rf"{_SIZE} is allocated by PyTorch"),
    re.compile(rf"{_SIZE} is reserved by PyTorch but unallocated"),
)
_OWN_BEFORE_2_1 = re.compile(rf"{_SIZE} reserved in total by PyTorch")
_OF_HOST = re.compile(
    r"DefaultCPUAllocator|Cannot allocate memory|bad_alloc|(?<!OutOf)MemoryError|the kernel killed"
)
"""What is said where the memory of the machine ran out, not that of a GPU."""


@dataclass(frozen=True)
class DeviceMemory:
    """The memory of a GPU at one moment, in bytes."""

    total: int
    free: int
    own: int
    """What torch has reserved for the process that asks."""

    @property
    def others(self) -> int:
        """What other processes hold; the context of the asking one, `CONTEXT`, is not counted."""
        return max(0, self.total - self.free - self.own - CONTEXT)

    def in_words(self) -> str:
        """Say what other processes hold."""
        return f"other processes held {byte_size(self.others)} of its {byte_size(self.total)}"


def memory_in(message: str) -> DeviceMemory | None:
    """Return the memory that torch's message about a lack of it tells of; None where none is.

    The message is that of `torch.OutOfMemoryError` with CUDA or ROCm.
    """
    total, free = _size(_TOTAL, message), _size(_FREE, message)
    if total is None or free is None:
        return None
    sizes = [_size(pattern, message) for pattern in _OWN]
    own = _size(_OWN_BEFORE_2_1, message) or sum(size or 0 for size in sizes)
    return DeviceMemory(total, free, own)


def _size(pattern: re.Pattern[str], message: str) -> int | None:
    match = pattern.search(message)
    if match is None:
        return None
    number, unit = (group for group in match.groups() if group is not None)
    return int(float(number) * _UNITS[unit])


def is_of_host(message: str) -> bool:
    """Return whether a message says that the machine, not a GPU, had too little memory."""
    return _OF_HOST.search(message) is not None
