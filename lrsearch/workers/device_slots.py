"""Slots for the workers of this machine: its GPUs, or its cores."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class DeviceSlot:
    """A GPU or a core on which one worker runs."""

    name: str
    environment: dict[str, str] = field(default_factory=dict)
    """Environment variables that keep a worker on its GPU."""


def device_slots(workers: int | str, device: str, threads: int) -> list[DeviceSlot]:
    """Return one slot for each worker.

    They go round the visible GPUs; without any, they are cores, `threads` of which a worker uses.
    `workers` is a number, or "auto" for one worker per GPU, or per `threads` cores.
    """
    gpus = _visible_gpus() if device in ("auto", "cuda") else []
    if gpus:
        count = len(gpus) if workers == "auto" else int(workers)
        chosen = [gpus[k % len(gpus)] for k in range(count)]
        return [DeviceSlot(f"GPU {gpu}", {"CUDA_VISIBLE_DEVICES": gpu}) for gpu in chosen]
    if workers == "auto":
        one_device = device.startswith(("cuda", "mps")) or _has_metal(device)
        workers = 1 if one_device else max(1, available_cores() // threads)
    return [DeviceSlot(f"core {k}") for k in range(int(workers))]


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _visible_gpus() -> list[str]:
    """Return the CUDA devices, each by the number or name that CUDA_VISIBLE_DEVICES takes."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        names = [name.strip() for name in chosen.split(",")]
        return [name for name in names if name not in ("", "-1")]
    if not Path("/proc/driver/nvidia").exists() and not Path("/dev/dxg").exists():
        return []  # no driver: spare the import of torch, which takes seconds
    import torch

    return [str(index) for index in range(torch.cuda.device_count())]


def _has_metal(device: str) -> bool:
    return device == "auto" and sys.platform == "darwin"
