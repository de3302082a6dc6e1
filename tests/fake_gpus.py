"""A machine with GPUs that is not there: its nvidia-smi, and what torch says of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from lrsearch.training import drivers
from lrsearch.training.drivers import VARIABLES

TWO = "GPU 0: NVIDIA H100 (UUID: GPU-aaaa-1)\nGPU 1: NVIDIA H100 (UUID: GPU-bbbb-2)\n"
DIVIDED = (
    "GPU 0: NVIDIA H100 (UUID: GPU-aaaa-1)\n"
    "  MIG 3g.40gb     Device  0: (UUID: MIG-cccc-3)\n"
    "  MIG 3g.40gb     Device  1: (UUID: MIG-dddd-4)\n"
)
CARDS = (
    "GPU-aaaa-1, NVIDIA H100, 550.54.15, 81559, 1024, Disabled\n"
    "GPU-bbbb-2, NVIDIA H100, 550.54.15, 81559, 0, Enabled\n"
)
NO_DRIVER = "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver."
GIB = 2**30


class FakeMachine:
    """Sets up what this process is told of GPUs; without a call there are none at all."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder, self._monkeypatch = folder, monkeypatch
        monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
        for name in (*VARIABLES, "CUDA_DEVICE_ORDER"):
            monkeypatch.delenv(name, raising=False)
        self.rocm_driver(False)
        self.torch(())

    def nvidia_smi(self, listing: str, cards: str = CARDS, code: int = 0) -> None:
        """What the tool prints, and its exit code."""
        program = self._folder / "nvidia-smi"
        program.write_text(
            f"#!/bin/sh\nif [ \"$1\" = -L ]; then cat <<'END'\n{listing}END\n"
            f"else cat <<'END'\n{cards}END\nfi\nexit {code}\n"
        )
        program.chmod(0o755)

    def rocm_driver(self, is_loaded: bool) -> None:
        """Whether AMD's driver is loaded."""
        device = self._folder / "kfd"
        if is_loaded:
            device.touch()
        self._monkeypatch.setattr(drivers, "ROCM_DEVICE", device)

    def torch(
        self,
        names: Sequence[str],
        *,
        cuda: str | None = "13.0",
        hip: str | None = None,
        error: str = "No CUDA GPUs are available",
        free: int = 70 * GIB,
        total: int = 80 * GIB,
        reserved: int = 0,
    ) -> None:
        """The GPUs that torch finds, and for which platform it is built."""

        def init() -> None:
            if not names:
                raise RuntimeError(f"{error}\nmore")

        fakes: dict[str, Any] = {
            "is_available": lambda: bool(names),
            "device_count": lambda: len(names),
            "get_device_name": lambda device=None: names[getattr(device, "index", None) or 0],
            "get_device_properties": lambda index: SimpleNamespace(uuid=f"uuid-{index}"),
            "mem_get_info": lambda device=None: (free, total),
            "memory_reserved": lambda device=None: reserved,
            "init": init,
        }
        for name, fake in fakes.items():
            self._monkeypatch.setattr(torch.cuda, name, fake)
        self._monkeypatch.setattr(torch.version, "cuda", cuda)
        self._monkeypatch.setattr(torch.version, "hip", hip)

    def environment(self, **variables: str) -> None:
        """Environment variables."""
        for name, value in variables.items():
            self._monkeypatch.setenv(name, value)
