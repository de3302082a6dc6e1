"""LCBench: MLPs on tabular data, by the surrogate of YAHPO Gym (slds-lmu/yahpo_data, Apache-2.0).

Epochs 2 to 51 of the surrogate are a whole curve of 50; the schedule is always a cosine.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from problems import Curve
from replay import Recorded

from lrsearch.recipe import Recipe
from lrsearch.space.domains import FloatRange, IntRange
from lrsearch.space.space import Space

TASKS = ("3945", "34539", "126025", "167149", "167185", "168331", "189862", "189908")
EPOCHS = 50
_NOT_A_TASK = "#na#"
_FIRST_EPOCH, _LAYERS, _UNITS, _CROSS_ENTROPY = 2, 3, 256, 2
_REFERENCES, _REFERENCE_SEED = 4000, 1
_RATES = [(1 + math.cos(math.pi * epoch / EPOCHS)) / 2 for epoch in range(1, EPOCHS + 1)]

SPACE = Space(
    shared={
        "lr": FloatRange(1e-4, 1e-1, log=True),
        "batch_size": IntRange(16, 512, log=True),
        "weight_decay": FloatRange(1e-5, 1e-1, log=True),
        "model.dropout": FloatRange(0.0, 0.8),
    },
    optimizer={"sgd": {"momentum": FloatRange(0.1, 0.99)}},
    scheduler={"cosine": {}},
)


def other_tasks(folder: Path) -> list[str]:
    """Return the tasks that were not used to choose anything."""
    return sorted({*_codes(folder)} - {*TASKS, _NOT_A_TASK})


class Task:
    """One of the data sets."""

    space = SPACE
    evaluations = EPOCHS

    def __init__(self, folder: Path, task: str) -> None:
        self.name = f"lcbench-{task}"
        self._session = _session(folder / "model.onnx")
        self._code = _codes(folder)[task]
        rng = np.random.default_rng(_REFERENCE_SEED)
        last = self._losses(_decoded(rng.random((_REFERENCES, 5))), [EPOCHS])[:, 0]
        self.best, self.median = float(last.min()), float(np.median(last))

    def trainings(self, count: int, seed: int) -> list[Recorded]:
        """Return the trainings of `count` random settings."""
        settings = _decoded(np.random.default_rng(seed).random((count, 5)))
        losses = self._losses(settings, range(1, EPOCHS + 1))
        return [
            Recorded(Curve(values.tolist(), [lr * rate for rate in _RATES]), "sgd", int(batch))
            for values, (batch, lr, *_) in zip(losses, settings, strict=True)
        ]

    def curve(self, recipe: Recipe, parameters: Mapping[str, Any]) -> Curve:
        """Return the curve that the surrogate predicts."""
        setting = [
            recipe.batch_size,
            recipe.lr,
            recipe.optimizer.arguments["momentum"],
            recipe.optimizer.arguments["weight_decay"],
            recipe.model["dropout"],
        ]
        values = self._losses(np.array([setting]), range(1, EPOCHS + 1))[0]
        return Curve(values.tolist(), [recipe.lr * rate for rate in _RATES])

    def _losses(self, settings: np.ndarray, epochs: Any) -> np.ndarray:
        """Return validation cross-entropies; shape: settings × epochs."""
        rows = np.repeat(settings, len(epochs), axis=0)
        epoch = np.tile(np.array(epochs) + _FIRST_EPOCH - 1, len(settings))
        full = np.full(len(rows), 1.0)
        columns = [epoch, *rows[:, :4].T, full * _LAYERS, full * _UNITS, rows[:, 4]]
        found = self._session.run(
            None,
            {
                "x_cat": np.full((len(rows), 1), self._code, np.int32),
                "x_cont": np.stack(columns, 1).astype(np.float32),
            },
        )
        return found[0][:, _CROSS_ENTROPY].reshape(len(settings), len(epochs)).astype(float)


def _decoded(unit: np.ndarray) -> np.ndarray:
    """Convert points of the unit cube to batch size, rate, momentum, weight decay, dropout."""
    lr, batch, momentum, decay, dropout = unit.T
    return np.stack(
        [
            np.round(16 * (512 / 16) ** batch),
            1e-4 * 1e3**lr,
            0.1 + 0.89 * momentum,
            1e-5 * 1e4**decay,
            0.8 * dropout,
        ],
        axis=1,
    )


def _codes(folder: Path) -> dict[str, int]:
    """Return the number of each task in the surrogate."""
    codes: dict[str, int] = json.loads((folder / "encoding.json").read_text())["OpenML_task_id"]
    return codes


@functools.cache
def _session(model: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(model), options)
