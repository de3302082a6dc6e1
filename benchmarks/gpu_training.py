"""lrsearch's own training in this process, as a worker runs it, for the GPU benchmark."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from gpu_rows import Plan

from lrsearch.checkpoints.store import Checkpoints, NoCheckpoints
from lrsearch.cli.compose import load_settings
from lrsearch.data.prepare import prepare
from lrsearch.evaluation import Evaluation
from lrsearch.objectives.base import Objective
from lrsearch.objectives.build import build_objective
from lrsearch.recipe import Recipe
from lrsearch.registry import ComponentConfig

RECIPE = Recipe(
    lr=0.05,
    batch_size=128,
    optimizer=ComponentConfig("sgd", {"momentum": 0.9}),
    scheduler=ComponentConfig("cosine"),
    warmup=0.1,
)


class Collected(list[Evaluation]):
    """The evaluations of one training."""

    def __call__(self, evaluation: Evaluation) -> None:
        self.append(evaluation)

    def restore(self, history: Any) -> None:
        self[:] = history

    def rewind(self, epoch: float) -> int:
        return len(self) + 1

    number = None

    def warn(self, message: str) -> None:
        """Do nothing: only a loop of the user's own is warned of."""

    def progress(self) -> None:
        """Do nothing: no stall watch runs."""


def objective_of(plan: Plan, *overrides: str) -> Objective:
    """Build the objective of a sweep with these settings on the plan's device and data."""
    sweep = "digits" if plan.dataset == "digits" else "mnist"
    settings = load_settings([f"+sweep={sweep}", *plan.arguments, *overrides])
    return build_objective(settings, prepare(settings.data).to_json())


def trained(
    objective: Objective,
    recipe: Recipe = RECIPE,
    checkpoints: Checkpoints | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> tuple[Collected, Mapping[str, torch.Tensor]]:
    """Train; return evaluations and final weights. Raises what the training raises."""
    found = Collected()
    weights = objective.run(recipe, 0, found, should_stop, checkpoints or NoCheckpoints())
    assert weights is not None, "lrsearch's own training returns its weights"
    return found, weights
