"""What tests of whole sweeps share: types of the fixtures, how to run one, a model with a bug."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

Run = Callable[..., subprocess.CompletedProcess[str]]
Command = Callable[..., tuple[int, str, str]]
"""Runs a command in this process, with more environment if given: exit code, output, errors."""
Query = Callable[[str], list[tuple[Any, ...]]]

BUGGY = """
import torch

class Net(torch.nn.Module):
    def __init__(self, n_outputs, bad=1):
        super().__init__()
        self.bad = bad
        self.layer = torch.nn.Linear(64, n_outputs)

    def forward(self, x):
        if self.bad and len(x) > 8:  # the few samples before a sweep do not show it
            raise ValueError("a bug in the model")
        return self.layer(x.flatten(1))
"""


def run_sweep(folder: Path, environment: dict[str, str], *arguments: str) -> Path:
    """Runs a sweep in a folder; `printed.txt` there is what it said."""
    done = subprocess.run(
        [sys.executable, "-m", "lrsearch", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr
    (folder / "printed.txt").write_text(done.stdout)
    return folder
