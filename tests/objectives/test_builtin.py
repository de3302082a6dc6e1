"""lrsearch's own training as an objective: the weights that it returns."""

from __future__ import annotations

import pytest
import torch
from reports import Collected

from lrsearch.checkpoints.store import NoCheckpoints
from lrsearch.cli.compose import load_settings
from lrsearch.data.prepare import prepare
from lrsearch.objectives.build import build_objective
from lrsearch.objectives.builtin import TrainingObjective
from lrsearch.recipe import Recipe
from lrsearch.registry import ComponentConfig
from lrsearch.workers.reporter import value_of

RECIPE = Recipe(0.05, 256, ComponentConfig("sgd"), ComponentConfig("constant"))


@pytest.mark.parametrize("at", ["last", "best"])
def test_the_weights_are_those_of_the_evaluation_that_counts(at: str) -> None:
    # The highest loss is not the last one.
    changes = ("metric.mode=max", f"metric.at={at}", "train.epochs=4")
    settings = load_settings(["+sweep=digits", *changes])
    objective = build_objective(settings, prepare(settings.data).to_json())
    assert isinstance(objective, TrainingObjective)
    seen = Collected()
    weights = objective.run(RECIPE, 7, seen, lambda: False, NoCheckpoints())
    assert weights is not None
    task = objective.task(RECIPE, 7, lambda: False)
    task.model.load_state_dict(weights)
    x, y = task.parts.validation.x, task.parts.validation.y  # type: ignore[union-attr]
    with torch.no_grad():
        loss = float(torch.nn.functional.cross_entropy(task.model.eval()(x), y))
    losses = [one.values["val_loss"] for one in seen]
    assert losses[-1] < max(losses)
    assert loss == pytest.approx(value_of(losses, settings.metric), rel=1e-5)
