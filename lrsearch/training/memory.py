"""How this process keeps memory for its tensors."""

from __future__ import annotations

import ctypes
import gc
import platform

import torch

# Names and numbers of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEEP = 1 << 30
_OLD_MOST = 32 << 20  # the most that older versions take for the second


def keep_freed_memory() -> bool:
    """Keeps up to 1 GiB of freed memory for the next step; whether it could be arranged.

    By itself glibc gives the memory of a step's larger tensors back to the system and has it
    cleared again at the next step: up to a tenth of a small network's time on a CPU.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    large = mallopt(_M_MMAP_THRESHOLD, _KEEP) or mallopt(_M_MMAP_THRESHOLD, _OLD_MOST)
    return bool(large and mallopt(_M_TRIM_THRESHOLD, _KEEP))


def free_unused() -> None:
    """Gives memory of a GPU that nothing uses any more back to it, for other processes."""
    gc.collect()
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()
