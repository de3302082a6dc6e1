"""Description of the machine that a benchmark ran on."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path


def describe_machine() -> dict[str, str | int | float]:
    """Return processor, cores, load, and the versions of packages."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    versions = {
        name: importlib.metadata.version(name) for name in ("torch", "optuna", *_installed("ray"))
    }
    return {
        "processor": _processor(),
        "cores": _cores(),
        "system": platform.platform(),
        "python": platform.python_version(),
        **versions,
        "load before": round(load, 2),
    }


def _installed(name: str) -> tuple[str, ...]:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ()
    return (name,)


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _processor() -> str:
    """Return the model of the processor; on Linux from /proc/cpuinfo."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()
