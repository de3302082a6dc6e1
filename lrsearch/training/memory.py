"""How this process keeps and releases the memory of tensors."""

from __future__ import annotations

import ctypes
import gc
import platform

import torch

# Constants of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEEP = 1 << 30
_OLD_MOST = 32 << 20  # the largest M_MMAP_THRESHOLD of older versions


def keep_freed_memory() -> bool:
    """Let glibc keep up to 1 GiB of freed memory for the next step; return whether that worked.

    By default glibc returns the memory of a step's larger tensors to the system, which clears it
    again for the next step. For a small network on a CPU that costs up to a tenth of the time.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    large = mallopt(_M_MMAP_THRESHOLD, _KEEP) or mallopt(_M_MMAP_THRESHOLD, _OLD_MOST)
    return bool(large and mallopt(_M_TRIM_THRESHOLD, _KEEP))


def free_unused() -> None:
    """Release unused memory that torch holds on the GPU, for other processes."""
    gc.collect()
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()
