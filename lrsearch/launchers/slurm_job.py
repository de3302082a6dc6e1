"""What submitit runs in a job of SLURM: a module of its own, since it is imported at each start."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence


def become_worker(arguments: Sequence[str]) -> None:
    """Replace this process by the worker of its job, `python -m lrsearch ARGUMENTS`.

    So the worker gets the signals of SLURM, and the job's script sees its exit code.
    """
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "lrsearch", *arguments])
