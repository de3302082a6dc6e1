"""TaskSet: six tasks, up to a thousand settings of Adam each, 51 points of validation loss.

Data from releaunifreiburg/DyHPO (Apache-2.0). The rate falls linearly, exponentially, or both.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from problems import Curve
from replay import Recorded

_STEPS = 10_000


def load(folder: Path) -> dict[str, list[Recorded]]:
    """Read the settings by task, without those that never had a loss."""
    return {path.stem: _recorded(path) for path in sorted(folder.glob("taskset_*.npz"))}


def _recorded(path: Path) -> list[Recorded]:
    table = np.load(path)  # plain arrays: nothing is unpickled
    found = []
    for losses, peak, linear, exponential in zip(
        table["valid_loss"],
        table["learning_rate"],
        table["linear_decay"],
        table["exponential_decay"],
        strict=True,
    ):
        steps = np.linspace(0, _STEPS, len(losses))[1:]
        rates = peak * np.maximum(1 - linear * steps, 0.0) * np.exp(-exponential * steps)
        rates = np.maximum(rates, 1e-9 * peak)
        finite = np.isfinite(losses[1:])
        reached = len(finite) if finite.all() else int(np.argmin(finite))
        if reached and math.isfinite(float(losses[1])):
            found.append(Recorded(Curve(losses[1 : reached + 1].tolist(), rates.tolist())))
    return found
