"""Slots for the workers of this machine: sets of its GPUs or shares of one, or its cores."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lrsearch.errors import UserError
from lrsearch.text.formatting import plural

_LISTED = re.compile(r"\s*(GPU|MIG).*\(UUID: ((?:GPU|MIG)-[^)]+)\)")
"""A line of `nvidia-smi -L`: `GPU 0: NVIDIA H100 (UUID: GPU-...)`, or a MIG slice below it."""
_QUERY_SECONDS = 30.0
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
        return [_gpu_slot(sets[k % len(sets)]) for k in range(count)]
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
    return f"{workers}; a trial takes {gpus:g} of a GPU" if gpus < 1 and on_gpus else workers


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


def _gpu_slot(names: list[str]) -> DeviceSlot:
    short = ", ".join(name if name.isdigit() else name[:12] for name in names)
    word = "GPU" if len(names) == 1 else "GPUs"
    return DeviceSlot(f"{word} {short}", {"CUDA_VISIBLE_DEVICES": ",".join(names)})


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def visible_gpus() -> list[str]:
    """Return the GPUs and MIG slices that this process may use, as CUDA_VISIBLE_DEVICES has them.

    They are UUIDs where these are known, because numbers depend on the order in which a process
    counts; else numbers.
    """
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    listed = _listed_gpus()
    if chosen is None:
        return listed or _counted_gpus()
    names = []
    for name in chosen.split(","):
        if name.strip() in ("", "-1"):
            break  # CUDA, too, ignores what follows
        names.append(name.strip())
    same_order = os.environ.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID"
    if not same_order or any(gpu.startswith("MIG-") for gpu in listed):
        return names
    return [listed[int(name)] if _is_index(name, listed) else name for name in names]


def _is_index(name: str, listed: list[str]) -> bool:
    return name.isdecimal() and int(name) < len(listed)


def _listed_gpus() -> list[str]:
    """The UUIDs of all GPUs in the order of their buses, a divided GPU as its MIG slices.

    Empty where nvidia-smi does not tell.
    """
    try:
        done = subprocess.run(
            ["nvidia-smi", "-L"], capture_output=True, text=True, timeout=_QUERY_SECONDS
        )
    except (OSError, subprocess.SubprocessError):
        return []
    if done.returncode:
        return []
    gpus: list[list[str]] = []
    for line in done.stdout.splitlines():
        if (match := _LISTED.match(line)) is None:
            continue
        if match[1] == "GPU":
            gpus.append([match[2]])
        elif gpus:
            gpus[-1].append(match[2])
    return [name for gpu, *slices in gpus for name in (slices or [gpu])]


def _counted_gpus() -> list[str]:
    """The numbers of the CUDA devices that torch counts."""
    if not Path("/proc/driver/nvidia").exists() and not Path("/dev/dxg").exists():
        return []  # no driver: spare the import of torch, which takes seconds
    import torch

    return [str(index) for index in range(torch.cuda.device_count())]


def _has_metal(device: str) -> bool:
    return device == "auto" and sys.platform == "darwin"
