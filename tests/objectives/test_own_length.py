"""What is known of a training loop of the user's own before it begins."""

from __future__ import annotations

from typing import Any

import pytest

from lrsearch.objectives.own_length import own_parts, own_trajectory, progress_words
from lrsearch.parameters.durations import Length
from lrsearch.recipe import Recipe
from lrsearch.registry import ComponentConfig
from lrsearch.training.settings import TrainSettings
from lrsearch.tuning.trajectory import LrTrajectory

BUILT_IN = Length(steps=1000, steps_per_epoch=100, steps_per_evaluation=100)
"""Ten epochs with an evaluation after each."""


def recipe(scheduler: str, warmup: float | str = 0.0, **arguments: Any) -> Recipe:
    return Recipe(0.2, 8, ComponentConfig("sgd"), ComponentConfig(scheduler, arguments), warmup)


@pytest.mark.parametrize(
    "known",
    [
        recipe("cosine"),
        recipe("linear", warmup=0.25, final=0.1),
        recipe("step", step_size="2ep", gamma=0.5),
        recipe("cosine", warmup="3ep"),
        recipe("lambda", formula="0.5 ** epoch"),
    ],
)
def test_the_rates_are_those_of_the_same_recipe_in_lrsearchs_own_loop(known: Recipe) -> None:
    own, built_in = (
        own_trajectory(TrainSettings(epochs=10), known),
        LrTrajectory.of(known, BUILT_IN),
    )
    assert own.warmup == pytest.approx(built_in.warmup)
    for moment in range(1, 11):
        ours, theirs = own.rates(moment / 10), built_in.rates(moment / 10)
        assert ours is not None
        assert theirs is not None
        assert ours.now == pytest.approx(theirs.now, abs=1e-6)
        assert ours.left == pytest.approx(theirs.left, abs=2e-4)


def test_between_two_epochs_the_rates_are_known_too() -> None:
    rates = own_trajectory(TrainSettings(epochs=3), recipe("linear", final=0.0)).rates(0.5)
    assert rates is not None
    assert rates.now == pytest.approx(0.1, abs=1e-3)
    assert rates.share_left == pytest.approx(0.125, abs=1e-3)


@pytest.mark.parametrize(
    ("train", "unknown"),
    [
        (TrainSettings(epochs=10), recipe("step", step_size="200st")),
        (TrainSettings(epochs=10), recipe("cosine", warmup="50st")),
        (TrainSettings(epochs=10), recipe("lambda", formula="1 / (1 + step)")),
        (TrainSettings(steps=1000), recipe("step", step_size="2ep")),
        (TrainSettings(steps=1000), recipe("lambda", formula="0.5 ** epoch")),
        (TrainSettings(epochs=10), recipe("plateau")),
    ],
)
def test_rates_that_depend_on_what_is_not_known_are_not_known(
    train: TrainSettings, unknown: Recipe
) -> None:
    assert own_trajectory(train, unknown).rates(0.5) is None


def test_a_training_counted_in_steps_knows_durations_in_steps() -> None:
    trajectory = own_trajectory(TrainSettings(steps=50_000), recipe("cosine", warmup="10000st"))
    assert trajectory.warmup == pytest.approx(0.2)
    assert trajectory.rates(0.5) is not None
    assert len(trajectory.now) <= 1000


@pytest.mark.parametrize(
    ("train", "parts"),
    [
        (TrainSettings(epochs=30), 30),
        (TrainSettings(epochs=12.4), 12),
        (TrainSettings(epochs=3), 10),
        (TrainSettings(epochs=0.5), 10),
        (TrainSettings(epochs=30, steps=9000), 10),
    ],
)
def test_trials_are_compared_after_epochs_or_after_tenths_where_these_are_few(
    train: TrainSettings, parts: int
) -> None:
    assert own_parts(train) == parts


def test_what_counts_as_progress_is_said() -> None:
    assert progress_words(TrainSettings(epochs=30)) == (
        "progress: the epoch that is reported, of train.epochs=30; trials are compared after each "
        "epoch"
    )
    assert progress_words(TrainSettings(steps=500)) == (
        "progress: the step that is reported, of train.steps=500; trials are compared after each "
        "1/10 of it"
    )
