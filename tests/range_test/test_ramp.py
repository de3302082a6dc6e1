"""Ramps as they are trained: lrsearch's own loop on real data."""

from __future__ import annotations

import dataclasses
import itertools
import math
from pathlib import Path

import pytest
import torch

from lrsearch.cli.compose import load_settings
from lrsearch.data.prepare import prepare
from lrsearch.objectives.builtin import TrainingObjective
from lrsearch.parameters.durations import Length
from lrsearch.range_test.curve import ramp_rates
from lrsearch.range_test.plan import HIGH, LOW, RampPlan
from lrsearch.range_test.ramp import ramp_recipe, run_ramps
from lrsearch.range_test.result import RangeTest
from lrsearch.training.loop import Stopped, Training

PLAN = RampPlan(("sgd", "adamw"), (32,), seeds=2, steps=80, trial_samples=16_000)


def objective_for(cache: Path, *overrides: str) -> TrainingObjective:
    settings = load_settings(["+sweep=digits", f"data.cache={cache}", *overrides])
    return TrainingObjective(settings, prepare(settings.data), torch.device("cpu"))


@pytest.fixture(scope="module")
def objective(cache: Path) -> TrainingObjective:
    return objective_for(cache)


@pytest.fixture(scope="module")
def range_test(objective: TrainingObjective) -> RangeTest:
    ramps = tuple(run_ramps(objective, PLAN, lambda: False))
    return RangeTest(ramps, PLAN.trial_samples, 1.0, objective.settings.space.coupling, {})


def test_the_rate_rises_by_one_factor_a_step(objective: TrainingObjective) -> None:
    recipe = ramp_recipe(objective.settings.space, "adamw", 32, 50)
    rates = recipe.preview(Length(49, 49, 49)).rates
    assert rates[0] == pytest.approx(LOW)
    assert rates[-1] == pytest.approx(HIGH)
    factors = [after / before for before, after in itertools.pairwise(rates)]
    assert max(factors) == pytest.approx(min(factors))


def test_all_but_the_rate_is_in_the_middle_of_the_space(objective: TrainingObjective) -> None:
    recipe = ramp_recipe(objective.settings.space, "sgd", 16, 50)
    assert recipe.optimizer.arguments["momentum"] == pytest.approx((0.8 + 0.99) / 2)
    assert recipe.optimizer.arguments["weight_decay"] == pytest.approx(1e-4)
    assert (recipe.batch_size, recipe.warmup, recipe.lr_ref) == (16, 0, None)


def test_digits_are_learnt_at_rates_that_are_known_to_work(range_test: RangeTest) -> None:
    for optimizer, good in (("sgd", 0.05), ("adamw", 0.01)):
        found = range_test.suggested(optimizer)
        assert found is not None
        assert found.low < good < found.high
    assert len(range_test.ramps) == 4
    assert range_test.share <= 2 * 2 * 80 * 32 / PLAN.trial_samples


def test_a_ramp_has_the_rate_and_loss_of_each_step_from_the_first(range_test: RangeTest) -> None:
    for ramp in range_test.ramps:
        assert ramp.rates[0] == pytest.approx(LOW)
        assert len(ramp.rates) == len(ramp.losses) <= PLAN.steps
        assert ramp.losses[0] == pytest.approx(math.log(10), abs=0.3)


def test_a_ramp_ends_soon_after_it_has_diverged(range_test: RangeTest) -> None:
    ended = [ramp for ramp in range_test.ramps if len(ramp.rates) < PLAN.steps]
    assert ended
    assert all(ramp_rates(ramp).diverged is not None for ramp in ended)


def test_the_same_seed_gives_the_same_ramp(
    objective: TrainingObjective, range_test: RangeTest
) -> None:
    once = dataclasses.replace(PLAN, optimizers=("sgd",), seeds=1)
    (again,) = run_ramps(objective, once, lambda: False)
    assert again == range_test.ramps[0]
    assert range_test.ramps[0].seed != range_test.ramps[1].seed


def test_told_to_stop_it_stops_within_a_step(objective: TrainingObjective) -> None:
    asked = 0

    def should_stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > 10

    with pytest.raises(Stopped):
        list(run_ramps(objective, PLAN, should_stop))
    assert asked == 11


def test_the_validation_data_are_not_looked_at(
    objective: TrainingObjective, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the validation data are not to be looked at")

    monkeypatch.setattr(Training, "_evaluation", refuse)
    once = dataclasses.replace(PLAN, optimizers=("sgd",), seeds=1, steps=30)
    (ramp,) = run_ramps(objective, once, lambda: False)
    assert len(ramp.losses) == 30
