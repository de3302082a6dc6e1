"""A training that takes long and little of a processor, for sweeps on clusters.

Its values are chaotic: a step that is lost or done twice shows.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any


def train(trial: Any, seconds: float = 0.0) -> None:
    """Take `seconds` for each epoch, and save each; tell in the folder SEEN of the worker's GPU."""
    if "SEEN" in os.environ:
        seen = Path(os.environ["SEEN"]) / f"{os.getpid()}.seen"
        seen.write_text(os.environ.get("CUDA_VISIBLE_DEVICES", "none"))
    file = Path(trial.checkpoint_dir) / "state.json"
    epoch, value = json.loads(file.read_text()) if file.exists() else (0, trial.recipe.lr)
    while epoch < trial.epochs:
        time.sleep(seconds)
        epoch += 1
        value = 3.9 * value * (1 - value) if 0 < value < 1 else value / (1 + value)
        trial.report(epoch, val_loss=value)
        new = file.with_suffix(".new")
        new.write_text(json.dumps([epoch, value]))
        new.replace(file)
