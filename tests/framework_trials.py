"""Trials for the loops of frameworks: recipes of every scheduler, and what ends the trials."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from documentation import EXAMPLES
from reports import Collected

from lrsearch.checkpoints.store import NoCheckpoints
from lrsearch.cli.compose import load_settings
from lrsearch.errors import TrialPruned
from lrsearch.evaluation import Evaluation
from lrsearch.objectives.build import build_objective
from lrsearch.objectives.trial import Trial
from lrsearch.parameters.durations import Length
from lrsearch.recipe import Recipe
from lrsearch.registry import ComponentConfig

BATCH = 8
SEED = 3


class Ended(Collected):
    """Receives evaluations, beats and warnings; prunes the trial when it has `prune_at` of them."""

    def __init__(self, prune_at: int = 100) -> None:
        super().__init__()
        self.prune_at = prune_at
        self.beats = 0
        self.warnings: list[str] = []

    def __call__(self, evaluation: Evaluation) -> None:
        super().__call__(evaluation)
        if len(self) >= self.prune_at:
            raise TrialPruned

    def warn(self, message: str) -> None:
        self.warnings.append(message)

    def progress(self) -> None:
        self.beats += 1


class StopAfter:
    """Tells a training to leave when it has been asked so many times; never where that is None."""

    def __init__(self, questions: int | None = None) -> None:
        self.left = questions

    def __call__(self) -> bool:
        if self.left is not None:
            self.left -= 1
        return self.left is not None and self.left < 0


def recipe_of(scheduler: str, **changes: Any) -> Recipe:
    """A recipe with a warm-up; a plateau cuts after each evaluation that is not much better."""
    arguments: dict[str, Any] = {}
    if scheduler == "plateau":
        arguments = {"patience": "1ep", "factor": 0.5, "threshold": 0.9}
    known: dict[str, Any] = {
        "lr": 0.05,
        "batch_size": BATCH,
        "optimizer": ComponentConfig("sgd", {"momentum": 0.9}),
        "scheduler": ComponentConfig(scheduler, arguments),
        "warmup": 0.1,
    }
    return Recipe(**(known | changes))


def trial_of(
    recipe: Recipe,
    report: Ended,
    folder: Path,
    epochs: float = 4,
    should_stop: Callable[[], bool] = lambda: False,
) -> Trial:
    """A trial that reports to `report`, with its own folder."""
    torch.manual_seed(SEED)
    return Trial(
        recipe,
        report,
        seed=SEED,
        device=torch.device("cpu"),
        epochs=epochs,
        checkpoint_dir=str(folder),
        should_stop=should_stop,
    )


def wanted_rates(recipe: Recipe, length: Length, report: Ended) -> list[float]:
    """The rates of the preview; a plateau is shown the losses that were reported."""
    losses = [evaluation.values["val_loss"] for evaluation in report]
    return recipe.preview(length, losses).rates


def run_example(title: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Ended, float]:
    """Run a trial of an example of the documentation in a folder, the working directory.

    Returns what it reported, and the epochs that its sweep has.
    """
    (section,) = (one for one in EXAMPLES if (one.page, one.title) == ("frameworks.md", title))
    section.write(folder)
    (sweep,) = (Path(name).stem for name in section.files if name.endswith(".yaml"))
    monkeypatch.delitem(sys.modules, "mypkg", raising=False)
    settings, report = load_settings([f"+sweep={sweep}"]), Ended()
    recipe = settings.space.sample(random.Random(0))
    objective = build_objective(settings, None)
    objective.run(recipe, SEED, report, lambda: False, NoCheckpoints())
    monkeypatch.delitem(sys.modules, "mypkg")
    return report, settings.train.epochs
