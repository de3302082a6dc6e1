"""What tests of whole sweeps share: types of the fixtures, and a model with a bug."""

import subprocess
from collections.abc import Callable
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
        if self.bad:
            raise ValueError("a bug in the model")
        return self.layer(x.flatten(1))
"""
