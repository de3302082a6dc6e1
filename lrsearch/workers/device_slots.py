"""Slots for the workers of this machine: sets of its GPUs or shares of one, or its cores."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lrsearch.errors import UserError
from lrsearch.text.formatting import plural
from lrsearch.training import drivers
from lrsearch.training.drivers import (
    CUDA_VARIABLE,
    HIP_VARIABLE,
    listed_gpus,
    names_of,
)

_MOST_SHARES = 100


@dataclass(frozen=True)
class DeviceSlot:
    """The GPUs or the core on which one worker runs."""

    name: str
    environment: dict[str, str] = field(default_factory=dict)
    """Environment variables that keep a worker on its GPUs."""


def device_slots(
    workers: int | str, device: str, threads: int, gpus: float = 1
) -> list[DeviceSlot]:
    """Return one slot for each worker.

    A trial takes `gpus` of the visible GPUs: a whole number of them, or a share of one, such as 0.5
    where two workers share each. Without GPUs slots are cores; a worker uses `threads` of them, or
    `gpus` times as many where it trains in several processes on the CPU. `workers` is a number, or
    "auto" for as many as there is room for; a larger number goes round the GPUs again.

    Raises UserError where this machine has fewer GPUs than a trial takes.
    """
    visible = visible_gpus() if device in ("auto", "cuda") else []
    if visible:
        sets = _sets(visible, gpus)
        shares = 1 if gpus >= 1 else min(_MOST_SHARES, math.floor(1 / gpus + 1e-9))
        count = len(sets) * shares if workers == "auto" else int(workers)
        variable = HIP_VARIABLE if uses_rocm() else CUDA_VARIABLE
        return [_gpu_slot(sets[k % len(sets)], variable) for k in range(count)]
    if gpus > 1 and device != "cpu":
        raise UserError(
            f"train.gpus: a trial takes {gpus:g} GPUs, and none is visible on this machine; "
            f"to train on the CPU in {gpus:g} processes, set train.device=cpu"
        )
    if workers == "auto":
        one_device = device.startswith(("cuda", "mps")) or _has_metal(device)
        cores = threads * max(1, math.ceil(gpus))
        workers = 1 if one_device else max(1, available_cores() // cores)
    return [DeviceSlot(f"core {k}") for k in range(int(workers))]


def in_words(slots: Sequence[DeviceSlot], gpus: float) -> str:
    """How many workers there are, and what a trial takes: `2 workers; a trial takes 4 GPUs`."""
    workers = plural(len(slots), "worker")
    on_gpus = any(slot.environment for slot in slots)
    if gpus > 1:
        return f"{workers}; a trial takes {gpus:g} {'GPUs' if on_gpus else 'processes on the CPU'}"
    return f"{workers}; a trial takes {gpus:.3g} of a GPU" if gpus < 1 and on_gpus else workers


def _sets(visible: list[str], gpus: float) -> list[list[str]]:
    """Divide the GPUs into the sets on which trials run."""
    size = max(1, math.ceil(gpus))
    if size > 1 and any(name.startswith("MIG-") for name in visible):
        raise UserError(
            f"train.gpus: a trial takes {size} GPUs, and a process can use one MIG slice alone: "
            f"set train.gpus=1, or turn MIG off"
        )
    if size > len(visible):
        raise UserError(
            f"train.gpus: a trial takes {size} GPUs, and {len(visible)} of this machine are visible"
        )
    return [visible[at : at + size] for at in range(0, len(visible) - size + 1, size)]


def _gpu_slot(names: list[str], variable: str) -> DeviceSlot:
    short = ", ".join(name if name.isdigit() else name[:12] for name in names)
    word = "GPU" if len(names) == 1 else "GPUs"
    return DeviceSlot(f"{word} {short}", {variable: ",".join(names)})


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def uses_rocm() -> bool:
    """Return whether torch trains on AMD's GPUs here."""
    if not drivers.ROCM_DEVICE.exists():
        return False  # no driver: spare the import of torch, which takes seconds
    import torch

    return torch.version.hip is not None


def visible_gpus() -> list[str]:
    """Return the GPUs and MIG slices that this process may use.

    They are named as in CUDA_VISIBLE_DEVICES or, with ROCm, in HIP_VISIBLE_DEVICES: by UUIDs where
    these are known, because numbers depend on the order in which a process counts; else by numbers.
    """
    if uses_rocm():
        return _visible_of_rocm()
    chosen = os.environ.get(CUDA_VARIABLE)
    listed = listed_gpus()
    if chosen is None:
        return listed or _counted_gpus()
    names = names_of(chosen)
    same_order = os.environ.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID"
    if not same_order or any(gpu.startswith("MIG-") for gpu in listed):
        return names
    return [listed[int(name)] if _is_index(name, listed) else name for name in names]


def _visible_of_rocm() -> list[str]:
    """Return AMD's GPUs by number, or as HIP_VISIBLE_DEVICES names them.

    HIP takes CUDA_VISIBLE_DEVICES for it, and counts what ROCR_VISIBLE_DEVICES has left.
    """
    for variable in (HIP_VARIABLE, CUDA_VARIABLE):
        if (chosen := os.environ.get(variable)) is not None:
            return names_of(chosen)
    import torch

    return [str(index) for index in range(torch.cuda.device_count())]


def _is_index(name: str, listed: list[str]) -> bool:
    return name.isdecimal() and int(name) < len(listed)


def _counted_gpus() -> list[str]:
    """The numbers of the CUDA devices that torch counts."""
    if not Path("/proc/driver/nvidia").exists() and not Path("/dev/dxg").exists():
        return []  # no driver: spare the import of torch, which takes seconds
    import torch

    return [str(index) for index in range(torch.cuda.device_count())]


def _has_metal(device: str) -> bool:
    return device == "auto" and sys.platform == "darwin"
