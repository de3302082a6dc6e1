"""What mattered."""

from __future__ import annotations

import math

from synthetic import recipe, sampled, settings_for, study_of, trial

from lrsearch.analysis.importance import find_importance
from lrsearch.recipe import Recipe


def only_the_rate(used: Recipe) -> float:
    return abs(math.log10(used.lr / 0.03))


def test_the_parameter_that_decides_comes_first() -> None:
    overrides = ("space.optimizer.only=[sgd]", "space.lr.high=0.5")
    study = sampled(200, *overrides, value=only_the_rate)
    importance = find_importance(study, settings_for(*overrides))
    shares = dict(importance.shares)
    assert importance.shares[0][0] == "lr"
    assert shares["lr"] > 0.5
    assert math.isclose(sum(shares.values()), 1)
    assert any("lr (" in line for line in importance.sentences())


def test_parameters_of_branches_are_weighed_by_the_share_of_their_branch() -> None:
    importance = find_importance(sampled(150), settings_for())
    names = {name for name, _ in importance.shares}
    assert {"optimizer", "scheduler", "lr", "adamw.lr", "sgd.momentum", "batch_size"} <= names
    assert dict(importance.shares)["scheduler"] > dict(importance.shares)["warmup"]


def test_more_is_better_where_the_metric_says_so() -> None:
    overrides = (
        "space.optimizer.only=[sgd]", "space.lr.high=0.5", "metric.name=val_accuracy",
        "metric.mode=max",
    )  # fmt: skip
    study = sampled(200, *overrides, value=lambda used: -only_the_rate(used))
    assert find_importance(study, settings_for(*overrides)).shares[0][0] == "lr"


def test_few_trials_give_words_instead_of_numbers() -> None:
    importance = find_importance(study_of([trial(0, recipe(), 1.0)]), settings_for())
    assert importance.shares == ()
    assert "too few to tell" in importance.sentences()[0]
