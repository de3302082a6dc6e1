"""The device of a training: choosing it by name, and naming it in records.

With ROCm, torch calls AMD's GPUs `cuda`, too.
"""

from __future__ import annotations

import os

import torch

from lrsearch.errors import UserError
from lrsearch.text.formatting import plural
from lrsearch.training import drivers
from lrsearch.training.device_memory import DeviceMemory
from lrsearch.training.drivers import (
    CUDA_VARIABLE,
    DriverFault,
    listed_gpus,
    nvidia_smi,
    promised_gpus,
)


def resolve_device(name: str) -> torch.device:
    """Return the device of a name; `auto` is the first GPU, or else the CPU.

    Raises UserError if this machine does not have the device; with `auto`, if it should have a GPU
    that torch does not find.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        if torch.backends.mps.is_available():
            return torch.device("mps")
        if promise := promised_gpus():
            raise UserError(
                f"train.device: {promise}, and torch finds none: {why_no_gpu()}; "
                f"to train on the CPU all the same, set train.device=cpu"
            )
        return torch.device("cpu")
    kind, _, index = name.partition(":")
    available = {
        "cpu": True,
        "cuda": torch.cuda.is_available() and int(index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if not available[kind]:
        why = f" ({why_no_gpu()})" if kind == "cuda" and not torch.cuda.is_available() else ""
        use = "cpu" if promised_gpus() else "auto"
        raise UserError(
            f"train.device: {name!r} is not on this machine{why}; use train.device={use}"
        )
    return torch.device(name)


def why_no_gpu() -> str:
    """Return in words why torch finds no GPU, where it finds none."""
    is_rocm = torch.version.hip is not None
    if torch.version.cuda is None and not is_rocm:
        return (
            f"torch {torch.__version__} is built for the CPU alone; install a build for the GPU "
            f"(https://pytorch.org/get-started)"
        )
    if is_rocm and not drivers.ROCM_DEVICE.exists():
        return (
            f"there is no {drivers.ROCM_DEVICE}: AMD's driver is not loaded, or closed to this "
            f"container"
        )
    said = _error_of_torch()
    if is_rocm:
        return said
    try:
        nvidia_smi("-L")
    except DriverFault as fault:
        return str(fault)
    if not (listed := listed_gpus()):
        return "nvidia-smi lists no GPU"
    if chosen := os.environ.get(CUDA_VARIABLE):
        return f"{said} (nvidia-smi lists {plural(len(listed), 'GPU')}; is {chosen} among them?)"
    return said


def _error_of_torch() -> str:
    """Return the reason that torch gives for using no GPU, in one line."""
    try:
        torch.cuda.init()  # type: ignore[no-untyped-call]
    except Exception as error:  # noqa: BLE001 - torch raises errors of several kinds
        return str(error).strip().partition("\n")[0] or type(error).__name__
    return "torch gives no reason"


def build_label() -> str:
    """The name of this build of torch: `torch 2.14.1 for CUDA 13.0`."""
    if torch.version.hip is not None:
        return f"torch {torch.__version__} for ROCm (HIP {torch.version.hip})"
    kind = "the CPU" if torch.version.cuda is None else f"CUDA {torch.version.cuda}"
    return f"torch {torch.__version__} for {kind}"


def visible_devices() -> list[tuple[torch.device, str]]:
    """Every GPU that torch sees in this process, with its name."""
    devices = [torch.device("cuda", index) for index in range(torch.cuda.device_count())]
    return [(device, torch.cuda.get_device_name(device)) for device in devices]


def try_device(device: torch.device) -> str | None:
    """Compute something on a device; return the error in one line, None where it works."""
    try:
        if (torch.ones(8, device=device) * 2).sum().item() == 16:
            return None
    except Exception as error:  # noqa: BLE001 - drivers raise errors of several kinds
        return str(error).strip().partition("\n")[0] or type(error).__name__
    return "it computes wrong values"


def memory_of(device: torch.device) -> DeviceMemory:
    """Measure the memory of a GPU; this process gets a context on it."""
    free, total = torch.cuda.mem_get_info(device)
    return DeviceMemory(total, free, torch.cuda.memory_reserved(device))


def card_names(device: torch.device, count: int) -> list[str]:
    """Names of `count` GPUs from `device` on, the same in each process of this machine.

    They are those of nvidia-smi where there is one: the UUIDs of GPUs or of MIG slices.
    """
    first = device.index or 0
    chosen = drivers.names_of(os.environ.get(CUDA_VARIABLE, ""))
    names = []
    for index in range(first, min(first + count, torch.cuda.device_count())):
        if index < len(chosen) and chosen[index].startswith("MIG-"):
            names.append(chosen[index])
            continue
        uuid = str(torch.cuda.get_device_properties(index).uuid)
        names.append(uuid if uuid.startswith("GPU-") else f"GPU-{uuid}")
    return names


def device_label(device: torch.device) -> str:
    """The name of a device in records: `cpu`, `cuda (NVIDIA H200)`."""
    if device.type != "cuda":
        return device.type
    return f"cuda ({torch.cuda.get_device_name(device)})"
