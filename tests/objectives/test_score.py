"""Scores of trained weights, and their values on the samples of a part."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pytest
import torch

from lrsearch.cli.compose import load_settings
from lrsearch.data.prepare import prepare
from lrsearch.objectives.build import build_objective
from lrsearch.objectives.builtin import TrainingObjective

DIGITS = ("+sweep=digits", "metric.name=val_loss")


def own_evaluation(model: Callable[..., Any], batches: Iterable[Any]) -> Mapping[str, float]:
    """An evaluation of the user's."""
    return {"val_loss": float(sum(len(x) for x, _ in batches))}


def objective_of(*overrides: str) -> TrainingObjective:
    settings = load_settings([*DIGITS, *overrides])
    objective = build_objective(settings, prepare(settings.data).to_json())
    assert isinstance(objective, TrainingObjective)
    return objective


def untrained(objective: TrainingObjective) -> tuple[Any, Mapping[str, torch.Tensor]]:
    recipe = objective.settings.space.recipe(lambda name, domain: domain.middle())
    return recipe, objective.task(recipe, 0, lambda: False).model.state_dict()


def test_each_value_is_the_mean_of_its_values_on_the_samples_of_the_part() -> None:
    objective = objective_of()
    recipe, weights = untrained(objective)
    for part, count in (("val", 360), ("test", 359)):
        scores = objective.score(recipe, weights, part)  # type: ignore[arg-type]
        assert scores is not None
        assert set(scores.values) == {f"{part}_loss", f"{part}_accuracy"}
        for name, value in scores.values.items():
            samples = scores.samples_of(name)
            assert (samples.count, len(samples.means)) == (count, count)
            assert sum(samples.means) / count == pytest.approx(value, rel=1e-5)
    none = scores.samples_of("train_loss")
    assert none.unknown == "train_loss is not a value of that part"


@pytest.mark.parametrize(
    ("override", "why"),
    [
        ("data.folds=3", "mean over folds"),
        ("train.evaluate._target_=objectives.test_score.own_evaluation", "train.evaluate"),
    ],
)
def test_where_an_evaluation_does_not_tell_its_samples_it_says_why(override: str, why: str) -> None:
    objective = objective_of(override.replace("objectives.test_score", __name__))
    recipe, weights = untrained(objective)
    scores = objective.score(recipe, weights, "val")
    assert scores is not None
    assert why in str(scores.samples_of("val_loss").unknown)
    tested = objective.score(recipe, weights, "test")
    assert tested is not None
    assert "test_loss" in tested.values
