"""The rates of a training are known before it begins."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrsearch.evaluation import Evaluation
from lrsearch.parameters.durations import Length
from lrsearch.recipe import Recipe
from lrsearch.registry import ComponentConfig
from lrsearch.tuning.trajectory import LrTrajectory, moment_of


def recipe(scheduler: str, lr: float = 0.2, warmup: float = 0.0, **arguments: float) -> Recipe:
    return Recipe(
        lr=lr, batch_size=8,
        optimizer=ComponentConfig("sgd"), scheduler=ComponentConfig(scheduler, arguments),
        warmup=warmup,
    )  # fmt: skip


LENGTH = Length(steps=400, steps_per_epoch=100, steps_per_evaluation=100)


@pytest.mark.parametrize(
    ("scheduler", "shares"),
    [
        ("constant", [0.75, 0.5, 0.25, 0.0]),
        ("linear", [0.5 * 0.75**2, 0.5 * 0.5**2, 0.5 * 0.25**2, 0.0]),
        # The integral of (1 + cos(pi t)) / 2 from p to 1.
        (
            "cosine",
            [(1 - p) / 2 - math.sin(math.pi * p) / (2 * math.pi) for p in (0.25, 0.5, 0.75, 1.0)],
        ),
    ],
)
def test_what_is_still_to_come_is_the_area_under_the_rest_of_the_schedule(
    scheduler: str, shares: list[float]
) -> None:
    trajectory = LrTrajectory.of(recipe(scheduler), LENGTH)
    assert trajectory.whole == 4
    found = [trajectory.rates(evaluation / 4) for evaluation in range(1, 5)]
    assert [rates.share_left for rates in found if rates] == pytest.approx(shares, abs=2e-3)


def test_rates_are_those_of_the_optimizer() -> None:
    trajectory = LrTrajectory.of(recipe("linear", lr=0.4), LENGTH)
    rates = trajectory.rates(3 / 4)
    assert rates is not None
    assert (rates.now, rates.peak, rates.optimizer) == (pytest.approx(0.1), 0.4, "sgd")
    assert rates.peak_per_sample == 0.4 / 8


@pytest.mark.parametrize("steps", [50_000, 1_000_003])
def test_a_long_training_is_looked_at_roughly(steps: int) -> None:
    whole = Length(steps=steps, steps_per_epoch=steps // 10, steps_per_evaluation=steps // 10)
    rough = whole.rough(1000)
    assert rough.steps <= 1000
    trajectory = LrTrajectory.of(recipe("cosine", warmup=0.1), whole)
    short = LrTrajectory.of(recipe("cosine", warmup=0.1), Length(1000, 100, 100))
    assert trajectory.warmup == pytest.approx(0.1, abs=1e-4)
    assert list(trajectory.left)[:10] == pytest.approx(list(short.left), rel=0.02, abs=1e-3)


def test_durations_in_steps_keep_their_share_in_a_rough_look() -> None:
    long = Length(steps=100_000, steps_per_epoch=10_000, steps_per_evaluation=10_000)
    by_steps = LrTrajectory.of(recipe("step", step_size="50000st", gamma=0.1), long)  # type: ignore[arg-type]
    by_share = LrTrajectory.of(recipe("step", step_size=0.5, gamma=0.1), long)
    assert list(by_steps.left) == pytest.approx(list(by_share.left))


def test_nobody_knows_the_rates_of_a_plateau() -> None:
    trajectory = LrTrajectory.of(recipe("plateau"), LENGTH)
    assert (trajectory.whole, trajectory.rates(2 / 4)) == (4, None)


def at(index: int, epoch: float = 0.0, step: int = 0) -> Evaluation:
    return Evaluation(
        index=index, epoch=epoch, step=step, values={}, lr_start=(0.1,), lr_end=(0.1,),
        grad_norm=None, clipped=None, seconds=0.0,
    )  # fmt: skip


def test_evaluations_beyond_the_plan_are_the_end() -> None:
    trajectory = LrTrajectory(4, "sgd", 0.1, 64)
    assert [trajectory.progress(at(index)) for index in (1, 4, 6)] == [0.25, 1.0, 1.0]


@given(st.integers(1, 2000), st.data())
def test_progress_in_evaluations_is_their_share_to_the_last_bit(
    whole: int, data: st.DataObject
) -> None:
    index = data.draw(st.integers(1, whole))
    trajectory = LrTrajectory(whole, "sgd", 0.1, 64)
    assert trajectory.progress(at(index)) == index / whole
    assert moment_of(index / whole, whole) == index


def test_progress_is_what_the_training_is_counted_in() -> None:
    epochs = LrTrajectory(10, "sgd", 0.1, 64, unit="epoch")
    steps = LrTrajectory(500, "sgd", 0.1, 64, unit="step")
    assert [epochs.progress(at(k, epoch=k / 10)) for k in (2, 10, 13)] == [0.02, 0.1, 0.13]
    assert [steps.progress(at(k, step=50 * k)) for k in (1, 4, 11)] == [0.1, 0.4, 1.0]
    assert epochs.progress(at(100, epoch=sum([0.1] * 100))) == 1.0  # 9.99999999999998
    assert moment_of(epochs.progress(at(10, epoch=float(np.float32(0.1)) * 29.9999998)), 10) == 3


@given(st.integers(1, 300), st.integers(1, 12))
def test_a_moment_is_the_number_of_parts_that_are_done(epochs: int, reports: int) -> None:
    trajectory = LrTrajectory(epochs, "sgd", 0.1, 64, unit="epoch")
    moments = [
        moment_of(trajectory.progress(at(k, epoch=k / reports)), epochs)
        for k in range(1, epochs * reports + 1)
    ]
    assert moments == [k // reports for k in range(1, epochs * reports + 1)]
