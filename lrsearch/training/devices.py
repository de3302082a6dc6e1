"""The device of a training: choosing it by name, and naming it in records."""

from __future__ import annotations

import torch

from lrsearch.errors import UserError


def resolve_device(name: str) -> torch.device:
    """Return the device of a name; `auto` is the first GPU, or else the CPU.

    Raises UserError if this machine does not have the device.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    kind, _, index = name.partition(":")
    available = {
        "cpu": True,
        "cuda": torch.cuda.is_available() and int(index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if not available[kind]:
        raise UserError(f"train.device: {name!r} is not on this machine; use train.device=auto")
    return torch.device(name)


def device_label(device: torch.device) -> str:
    """The name of a device in records: `cpu`, `cuda (NVIDIA H200)`."""
    if device.type != "cuda":
        return device.type
    return f"cuda ({torch.cuda.get_device_name(device)})"
