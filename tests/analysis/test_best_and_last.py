"""Where the best and the last evaluation differ by more than noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from synthetic import INFO, recipe, settings_for, study_of, trial

from lrsearch.analysis.best_and_last import BestAndLast, compare_best_and_last
from lrsearch.analysis.study_data import StudyData, TrialData
from lrsearch.confirm.result import Confirmation, Run
from lrsearch.evaluation import Evaluation
from lrsearch.recipe import Recipe
from lrsearch.schedules.rates import rates_of
from lrsearch.states import WorkState

EPOCHS = 30
OVERFITS = [0.9, 0.4, *(0.4 + 0.02 * k for k in range(28))]
"""Best at epoch 2 of 30."""
IMPROVES = [1.0 - 0.02 * k for k in range(EPOCHS)]
SHORT = (f"train.epochs={EPOCHS}",)


def scored(number: int, values: Sequence[float | None], used: Recipe | None = None) -> TrialData:
    """A complete trial with these values, and the rates of its recipe's schedule."""
    used = used or recipe(0.1 + number, warmup=0.1)
    length = settings_for(*SHORT).train.length(used.batch_size, INFO.n_train)
    call, warmup = used.call(length)
    rates = rates_of(call, used.lr, length.steps, warmup)
    assert rates is not None
    per_epoch = length.steps_per_epoch
    curve = tuple(
        Evaluation(
            index=k, epoch=float(k), step=k * per_epoch, value=value, values={},
            lr_start=(float(rates[(k - 1) * per_epoch]),), lr_end=(float(rates[k * per_epoch]),),
            grad_norm=1.0, clipped=None, seconds=1.0, progress=k / EPOCHS,
        )
        for k, value in enumerate(values, start=1)
    )  # fmt: skip
    return replace(trial(number, used, values[-1]), curve=curve)


def compared(
    trials: Sequence[TrialData], *overrides: str, confirmation: Confirmation | None = None
) -> BestAndLast:
    study: StudyData = study_of(trials, *SHORT, *overrides)
    study = replace(study, confirmation=confirmation)
    return compare_best_and_last(study, settings_for(*SHORT, *overrides))


def confirmed(values: Sequence[Sequence[float]], trials: Sequence[int]) -> Confirmation:
    runs = [
        Run(number, seed, WorkState.DONE, "complete", value)
        for number, of_trial in zip(trials, values, strict=True)
        for seed, value in enumerate(of_trial)
    ]
    return Confirmation("val_loss", "min", dict.fromkeys(trials, 0.5), 2, runs, None)


def test_a_recipe_that_overfits_is_found_with_epoch_share_and_phase() -> None:
    found = compared([scored(0, OVERFITS)]).recommended
    assert found is not None
    assert (found.best, found.epoch, found.last_epoch) == (0.4, 2.0, 30.0)
    assert found.last == OVERFITS[-1]
    assert found.share == pytest.approx(2 / 30)
    assert found.phase == "warm-up"
    assert found.differs


def test_what_is_best_at_its_end_does_not_differ() -> None:
    found = compared([scored(0, IMPROVES)]).recommended
    assert found is not None
    assert found.best == found.last
    assert not found.differs


@pytest.mark.parametrize("mode", ["min", "max"])
def test_more_is_better_where_the_metric_says_so(mode: str) -> None:
    sign = 1 if mode == "min" else -1
    found = compared([scored(0, [sign * value for value in OVERFITS])], f"metric.mode={mode}")
    assert found.recommended is not None
    assert found.recommended.best == sign * 0.4
    assert found.recommended.differs


@pytest.mark.parametrize(
    ("used", "best_epoch", "phase"),
    [
        (recipe(warmup=0.1), 3, "warm-up"),
        (recipe(warmup="30st"), 10, "decay"),
        (recipe(scheduler="constant"), 10, "constant"),
        (recipe(scheduler="step", arguments={"step_size": 0.3, "gamma": 0.5}), 2, "constant"),
        (recipe(scheduler="step", arguments={"step_size": 0.3, "gamma": 0.5}), 20, "cut"),
        (recipe(scheduler="one_cycle", arguments={"pct_start": 0.5}), 5, "rise"),
        (recipe(scheduler="one_cycle", arguments={"pct_start": 0.5}), 25, "decay"),
    ],
)
def test_the_phase_is_what_the_rate_did(used: Recipe, best_epoch: int, phase: str) -> None:
    values = [abs(k - best_epoch) + 1.0 for k in range(1, EPOCHS + 1)]
    found = compared([scored(0, values, used)]).recommended
    assert found is not None
    assert (found.epoch, found.phase) == (best_epoch, phase)


def test_the_noise_is_that_of_the_confirmation_where_there_is_one() -> None:
    runs = confirmed([[0.1, 0.3], [0.5, 0.7]], [0, 1])
    trials = [scored(0, OVERFITS), scored(1, OVERFITS)]
    found = compared(trials, confirmation=runs)
    assert found.from_confirmation
    assert found.deviation == pytest.approx(math.sqrt(0.02))
    gap = OVERFITS[-1] - 0.4
    assert gap > 2 * math.sqrt(2.0) * 0.141
    assert all(leader.differs for leader in found.leaders)
    noisy = compared(trials, confirmation=confirmed([[0.1, 0.9], [0.1, 0.9]], [0, 1]))
    assert not any(leader.differs for leader in noisy.leaders)


def test_last_digits_make_no_difference_where_seeds_change_nothing() -> None:
    equal = confirmed([[0.04, 0.04 + 1e-9], [0.04, 0.04]], [0, 1])
    for last, differs in [(0.04 + 1e-8, False), (0.041, True)]:
        trials = [scored(0, [1.0, 0.04, last]), scored(1, [1.0, 0.04, last])]
        found = compared(trials, confirmation=equal)
        assert all(leader.differs == differs for leader in found.leaders)


def test_else_it_is_that_of_repeated_recipes() -> None:
    trials = [scored(0, OVERFITS, recipe()), scored(1, [*OVERFITS[:-1], 5.0], recipe())]
    found = compared(trials)
    assert not found.from_confirmation
    assert found.deviation == pytest.approx((5.0 - OVERFITS[-1]) / math.sqrt(2.0))
    assert not any(leader.differs for leader in found.leaders)


@pytest.mark.parametrize(("last", "differs"), [(0.45, False), (0.48, True)])
def test_else_a_tenth_of_the_gain_counts(last: float, differs: bool) -> None:
    found = compared([scored(0, [1.0, 0.4, last])]).recommended
    assert found is not None
    assert found.differs == differs


def test_the_trial_that_ends_best_is_named_whatever_counts() -> None:
    late = scored(1, [1.0, 0.8, 0.6])
    early = replace(scored(0, [1.0, 0.3, 0.9]), value=0.3)
    found = compared([early, replace(late, value=0.6)], "metric.at=best")
    assert found.recommended is not None
    assert found.recommended.trial == 0
    assert found.ends_best is not None
    assert found.ends_best.trial == 1
    assert found.others == ()


@pytest.mark.parametrize("curve", [[], [0.5], [0.5, None]])
def test_without_two_values_there_is_nothing_to_compare(curve: list[Any]) -> None:
    one = replace(scored(0, curve or [0.5]), value=0.5)
    found = compared([one if curve else replace(one, curve=())])
    assert found.leaders == ()
    assert compared([]).ends_best is None


def test_evaluations_of_folds_are_not_compared() -> None:
    assert compared([scored(0, OVERFITS)], "data.folds=3").leaders == ()
