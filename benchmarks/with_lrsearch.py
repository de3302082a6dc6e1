"""Train the recipes by lrsearch's command line, and read the results from its database."""

from __future__ import annotations

import json
import sqlite3
import sys
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml
from task import MOMENTUM, RECIPES, STEP_GAMMA, WEIGHT_DECAY, Recipe, Task, Trial

SWEEP, DATABASE = "overhead", "lrsearch.db"
WORKERS = 2


def command(task: Task) -> list[str]:
    """Return the command line, to be run in the folder of `write_sweep`."""
    return [
        sys.executable,
        "-m",
        "lrsearch",
        f"+sweep={SWEEP}",
        f"workers={WORKERS}",
        f"storage.url=sqlite:///{DATABASE}",
        f"study.seed={task.seed}",
        f"train.epochs={task.epochs}",
        "train.device=cpu",
        f"model.hidden={json.dumps(task.hidden, separators=(',', ':'))}",
        f"data.root={task.data}",
    ]


def write_sweep(folder: Path) -> None:
    """Write the sweep of the fixed recipes into a working directory."""
    (folder / "sweeps").mkdir(parents=True)
    (folder / "sweeps" / f"{SWEEP}.yaml").write_text(yaml.safe_dump(sweep(), sort_keys=False))


def sweep() -> dict[str, Any]:
    """Return a sweep whose trials are only the fixed recipes."""
    return {
        "description": "the benchmark's fixed recipes",
        "defaults": [
            {"override /data": "mnist"},
            {"override /sampler": "random"},
            {"override /pruner": "none"},
        ],
        "study": {"n_trials": len(RECIPES), "try_first": [_setting(one) for one in RECIPES]},
        "data": {"fallback": None},
        "space": {
            "lr": {"low": 1e-4, "high": 1.0, "log": True},
            "batch_size": {"low": 64, "high": 256},
            "warmup": {"value": 0},
            "weight_decay": {"value": WEIGHT_DECAY},
            "optimizer": {
                "only": ["sgd", "adamw"],
                "sgd": {"momentum": {"value": MOMENTUM}, "nesterov": {"value": False}},
                "adamw": {"lr": {"low": 1e-4, "high": 1.0, "log": True}},
            },
            "scheduler": {
                "only": ["constant", "step", "cosine", "one_cycle"],
                "step": {"step_size": {"value": "1ep"}, "gamma": {"value": STEP_GAMMA}},
                "cosine": {"final": {"value": 0.0}},
                "one_cycle": {"pct_start": {"value": 0.3}, "div_factor": {"value": 25.0}},
            },
        },
    }


def _setting(recipe: Recipe) -> dict[str, Any]:
    """Return an entry of `try_first`; in the default space AdamW's rate has its own range."""
    setting = dict(vars(recipe))
    if recipe.optimizer == "adamw":
        setting["adamw.lr"] = setting.pop("lr")
    return setting


_QUERY = """
SELECT unit.number, unit.recipe, trial.datetime_start, trial.datetime_complete, last.step,
       last.val_loss
FROM lrsearch_units AS unit
JOIN trials AS trial ON trial.trial_id = unit.trial_id
JOIN lrsearch_epochs AS last ON last.trial_id = unit.trial_id
WHERE unit.outcome = 'complete'
  AND last.step = (SELECT max(step) FROM lrsearch_epochs WHERE trial_id = unit.trial_id)
"""


def collect(folder: Path) -> list[Trial]:
    """Return the finished trials, with Optuna's times, which have microseconds."""
    with closing(sqlite3.connect(folder / DATABASE)) as connection:
        rows = connection.execute(_QUERY).fetchall()
    trials = []
    for number, recipe, start, complete, steps, loss in rows:
        _check(number, json.loads(recipe))
        begun, ended = (datetime.fromisoformat(time).timestamp() for time in (start, complete))
        trials.append(Trial(number, begun, ended, steps, loss))
    return trials


def _check(number: int, trained: dict[str, Any]) -> None:
    """Raise ValueError unless the trial slot trained the recipe of its number."""
    found = (
        trained["batch_size"],
        trained["optimizer"]["name"],
        trained["lr"],
        trained["scheduler"]["name"],
    )
    if found != tuple(vars(RECIPES[number]).values()):
        raise ValueError(f"unit {number} should be {RECIPES[number]} and is {trained}")
