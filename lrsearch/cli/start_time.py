"""The time that a sweep takes before its first trial begins."""

from __future__ import annotations

import subprocess
import sys
import time

import psutil

_OF_A_WORKER = "import lrsearch.workers.service, lrsearch.objectives.builtin, optuna, torch.optim"


def start_seconds() -> float:
    """Return the seconds since this process began, and those in which a worker starts.

    The worker is a new process that imports what workers import.
    """
    own = time.time() - psutil.Process().create_time()
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", _OF_A_WORKER], check=True)
    return own + time.perf_counter() - began
