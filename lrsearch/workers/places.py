"""Where the workers of this machine run: its GPUs, or its cores."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Place:
    """Where a worker runs: a GPU by its number, or a core."""

    name: str
    environment: dict[str, str] = field(default_factory=dict)


def places(workers: int | str, device: str, threads: int) -> list[Place]:
    """One place a worker: each GPU that can be seen, else each core (with `threads` of them)."""
    gpus = _visible_gpus() if device in ("auto", "cuda") else []
    if gpus:
        count = len(gpus) if workers == "auto" else int(workers)
        chosen = [gpus[k % len(gpus)] for k in range(count)]
        return [Place(f"GPU {gpu}", {"CUDA_VISIBLE_DEVICES": gpu}) for gpu in chosen]
    if workers == "auto":
        one_device = device.startswith(("cuda", "mps")) or _has_metal(device)
        workers = 1 if one_device else max(1, available_cores() // threads)
    return [Place(f"core {k}") for k in range(int(workers))]


def available_cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _visible_gpus() -> list[str]:
    """CUDA devices by the number or name that CUDA_VISIBLE_DEVICES takes."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [one.strip() for one in chosen.split(",") if one.strip() not in ("", "-1")]
    if not Path("/proc/driver/nvidia").exists() and not Path("/dev/dxg").exists():
        return []  # no driver: do not pay for importing torch to hear it
    import torch

    return [str(index) for index in range(torch.cuda.device_count())]


def _has_metal(device: str) -> bool:
    return device == "auto" and sys.platform == "darwin"
