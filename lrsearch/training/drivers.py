"""GPUs as the environment and the tools of their driver tell of them, without torch."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from lrsearch.text.formatting import plural

CUDA_VARIABLE, HIP_VARIABLE = "CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"
VARIABLES = (CUDA_VARIABLE, HIP_VARIABLE, "ROCR_VISIBLE_DEVICES")
"""Environment variables that choose the GPUs of a process; the last two are those of ROCm."""
ROCM_DEVICE = Path("/dev/kfd")
"""The device of AMD's driver; it exists where that is loaded, and the container may use it."""
_LISTED = re.compile(r"\s*(GPU|MIG).*\(UUID: ((?:GPU|MIG)-[^)]+)\)")
"""A line of `nvidia-smi -L`: `GPU 0: NVIDIA H100 (UUID: GPU-...)`, or a MIG slice below it."""
_QUERY_SECONDS = 30.0
_MIB = 2**20
# "NoDevFiles" is what SLURM sets for a job without GPUs, "void" and "none" are the container's.
_NONE = frozenset({"", "-1", "nodevfiles", "void", "none"})


class DriverFault(Exception):
    """The driver's tool is missing or fails; the message says how."""


@dataclass(frozen=True)
class Card:
    """A GPU as its driver describes it."""

    uuid: str
    name: str
    driver: str
    total: int
    """Bytes of memory."""
    used: int
    """Bytes of memory that processes hold."""
    is_divided: bool
    """Whether it is divided into MIG slices."""


def nvidia_smi(*arguments: str) -> str:
    """Return what NVIDIA's tool prints. Raises DriverFault."""
    try:
        done = subprocess.run(
            ["nvidia-smi", *arguments], capture_output=True, text=True, timeout=_QUERY_SECONDS
        )
    except FileNotFoundError:
        raise DriverFault("nvidia-smi, and with it NVIDIA's driver, is not here") from None
    except subprocess.TimeoutExpired:
        raise DriverFault(f"nvidia-smi does not answer within {_QUERY_SECONDS:.0f} s") from None
    except OSError as error:
        raise DriverFault(f"nvidia-smi cannot be run: {error.strerror}") from None
    if done.returncode:
        said = (done.stdout.strip() or done.stderr.strip() or "it says nothing").splitlines()[0]
        raise DriverFault(f"nvidia-smi fails with exit code {done.returncode}: {said}")
    return done.stdout


def has_nvidia_smi() -> bool:
    """Return whether NVIDIA's tool is installed."""
    return shutil.which("nvidia-smi") is not None


def listed_gpus() -> list[str]:
    """Return the UUIDs of NVIDIA's GPUs in the order of their buses, a divided GPU as its slices.

    Empty where nvidia-smi does not tell.
    """
    try:
        listing = nvidia_smi("-L")
    except DriverFault:
        return []
    gpus: list[list[str]] = []
    for line in listing.splitlines():
        if (match := _LISTED.match(line)) is None:
            continue
        if match[1] == "GPU":
            gpus.append([match[2]])
        elif gpus:
            gpus[-1].append(match[2])
    return [name for gpu, *slices in gpus for name in (slices or [gpu])]


def cards() -> list[Card]:
    """Return NVIDIA's GPUs with their memory. Raises DriverFault."""
    fields = "uuid,name,driver_version,memory.total,memory.used,mig.mode.current"
    listing = nvidia_smi(f"--query-gpu={fields}", "--format=csv,noheader,nounits")
    rows = [[field.strip() for field in line.split(",")] for line in listing.splitlines()]
    return [
        Card(uuid, name, driver, _bytes(total), _bytes(used), mig == "Enabled")
        for uuid, name, driver, total, used, mig in (row for row in rows if len(row) == 6)
    ]


def _bytes(mebibytes: str) -> int:
    return int(mebibytes) * _MIB if mebibytes.isdigit() else 0  # "[N/A]" of some GPUs


def names_of(chosen: str) -> list[str]:
    """Return the GPUs that the value of one of the `VARIABLES` names: numbers or UUIDs."""
    names = []
    for name in chosen.split(","):
        if name.strip().lower() in _NONE:
            break  # CUDA, too, ignores what follows
        names.append(name.strip())
    return names


def hides_all() -> bool:
    """Return whether the environment says that this process is to use no GPU."""
    return any(not names_of(os.environ[name]) for name in VARIABLES if name in os.environ)


def promised_gpus() -> str | None:
    """Return what says that this process has a GPU, in words; None where nothing does."""
    if hides_all():
        return None
    for name in VARIABLES:
        if name in os.environ:
            return f"{name}={os.environ[name]} names a GPU"
    listed = listed_gpus()
    return f"nvidia-smi lists {plural(len(listed), 'GPU')}" if listed else None
