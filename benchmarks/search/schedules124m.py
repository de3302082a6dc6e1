"""Cosine and warm-up-stable-decay at four peak rates: 51 runs of a 124M-parameter language model.

From fabian-sp/lr-scheduling (MIT). Each of the two horizons is a study of its own.
"""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from problems import Curve
from replay import Recorded

_EVERY = 200
"""Steps between two evaluations, the same for all runs."""


def load(folder: Path) -> dict[str, list[Recorded]]:
    """Read the runs by horizon."""
    with gzip.open(folder / "schedules124m.json.gz", "rt") as file:
        runs = json.load(file)
    horizons = sorted({run["total_steps"] for run in runs})
    return {
        f"schedules124m-{horizon // 1000}k": [
            _recorded(run) for run in runs if run["total_steps"] == horizon
        ]
        for horizon in horizons
    }


def _recorded(run: dict[str, Any]) -> Recorded:
    steps = range(_EVERY, run["total_steps"] + 1, _EVERY)
    values = np.interp(steps, run["step"], run["val_loss"]).tolist()
    values[-1] = run["final_val_loss"]
    rates = [_rate(run, step) for step in steps]
    return Recorded(Curve(values, rates), warmup=run["warmup_steps"] / run["total_steps"])


def _rate(run: dict[str, Any], step: int) -> float:
    total, warmup, peak = run["total_steps"], run["warmup_steps"], run["lr"]
    if step < warmup:
        return float(peak * step / warmup)
    if run["scheduler"] == "cosine":
        return float(peak * (1 + math.cos(math.pi * (step - warmup) / (total - warmup))) / 2)
    decay = run["decay_fraction"] * total
    share = min(1.0, max(0.0, (step - (total - decay)) / decay))
    return float(peak * (1 - share if run["decay_shape"] == "linear" else 1 - math.sqrt(share)))
