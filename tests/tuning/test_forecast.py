"""Forecasts of final values: what they learn, how sure they are, what does not change them."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrsearch.tuning.forecast import Forecast, Forecaster, Scale, Standing, standing, unsteadiness
from lrsearch.tuning.trajectory import Rates

SEEDS = st.integers(0, 10_000)


def trainings(seed: int, count: int, noise: float = 0.05) -> tuple[list[Standing], list[float]]:
    """Standings at half time; what the final loss becomes hangs on the rate that is left."""
    rng = np.random.default_rng(seed)
    standings, finals = [], []
    for _ in range(count):
        share, peak = rng.uniform(0.02, 0.5), 10 ** rng.uniform(-2, -1)
        skill = rng.normal()
        value = 1.0 + 0.3 * skill + 0.8 * share
        rates = Rates(peak * share, peak * share, peak, 64, "sgd")
        standings.append(Standing(value, value + 0.2, rates))
        finals.append(1.0 + 0.3 * skill - 0.1 * math.log(share) + noise * rng.normal())
    return standings, finals


def with_rates(one: Standing, times: float, **changes: Any) -> Standing:
    """The same with so many times its rates, and whatever else of them is another."""
    assert one.rates is not None
    now, left, peak = (times * rate for rate in (one.rates.now, one.rates.left, one.rates.peak))
    rates = dataclasses.replace(one.rates, now=now, left=left, peak=peak, **changes)
    return dataclasses.replace(one, rates=rates)


def test_the_rate_to_come_tells_what_the_loss_alone_does_not() -> None:
    standings, finals = trainings(0, 60)
    blind = [Standing(one.value, one.earlier, None) for one in standings]
    scale = Scale(finals)
    truth = scale(finals[40:])

    def error(given: list[Standing]) -> float:
        forecaster = Forecaster(scale, 0.5, given[:40], finals[:40])
        means = np.array([forecaster(one).mean for one in given[40:]])
        return float(np.sqrt(np.mean((means - truth) ** 2)))

    assert error(standings) < 0.6 * error(blind)


@pytest.mark.parametrize("known", [6, 15, 40])
def test_the_band_holds_what_it_says(known: int) -> None:
    inside = []
    for seed in range(60):
        standings, finals = trainings(seed, known + 5)
        scale = Scale(finals[:known])
        forecaster = Forecaster(scale, 0.5, standings[:known], finals[:known])
        for one, truth in zip(standings[known:], scale(finals[known:]), strict=True):
            below = forecaster(one).probability_below(float(truth))
            inside.append(0.1 < below < 0.9)
    assert 0.72 < np.mean(inside) < 0.97


def test_one_complete_trial_is_enough_for_a_wide_band_and_more_make_it_narrower() -> None:
    standings, finals = trainings(3, 41)
    scale = Scale(finals)
    errors = [
        Forecaster(scale, 0.5, standings[:known], finals[:known])(standings[-1]).error
        for known in (1, 10, 40)
    ]
    assert errors[0] > errors[1] > errors[2]


@given(SEEDS, st.floats(0.1, 10.0), st.floats(-5.0, 5.0))
@settings(deadline=None, max_examples=30)
def test_units_do_not_matter(seed: int, factor: float, offset: float) -> None:
    standings, finals = trainings(seed, 12)
    moved = [
        Standing(factor * one.value + offset, factor * one.earlier + offset, one.rates)
        for one in standings
    ]
    other = [factor * value + offset for value in finals]
    first = Forecaster(Scale(finals), 0.5, standings[:-1], finals[:-1])(standings[-1])
    second = Forecaster(Scale(other), 0.5, moved[:-1], other[:-1])(moved[-1])
    assert second.mean == pytest.approx(first.mean, abs=1e-4)
    assert second.error == pytest.approx(first.error, rel=1e-4)


@given(SEEDS)
@settings(deadline=None, max_examples=30)
def test_the_order_of_peers_does_not_matter(seed: int) -> None:
    standings, finals = trainings(seed, 12)
    order = np.random.default_rng(seed).permutation(11)
    first = Forecaster(Scale(finals), 0.5, standings[:-1], finals[:-1])(standings[-1])
    again = Forecaster(
        Scale(finals), 0.5, [standings[k] for k in order], [finals[k] for k in order]
    )(standings[-1])
    assert again.mean == pytest.approx(first.mean, abs=1e-9)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20))
def test_a_scale_keeps_the_order(values: list[float]) -> None:
    scaled = Scale(values)(sorted(values))
    assert np.all(np.diff(scaled) >= 0)
    assert np.all(np.isfinite(scaled))


def test_rates_of_different_optimizers_are_not_compared() -> None:
    standings, finals = trainings(5, 21)
    # The same trainings, every second with an optimizer whose rates are a hundredth.
    mixed = [
        one if k % 2 else with_rates(one, 0.01, optimizer="adamw")
        for k, one in enumerate(standings)
    ]
    scale = Scale(finals)
    plain = Forecaster(scale, 0.5, standings[:-1], finals[:-1])(standings[-1])
    other = Forecaster(scale, 0.5, mixed[:-1], finals[:-1])(mixed[-1])
    assert other.mean == pytest.approx(plain.mean, abs=0.3)


def test_a_rate_counts_for_each_sample_of_a_batch() -> None:
    standings, finals = trainings(5, 21)
    larger = [
        one if k % 2 else with_rates(one, 4.0, batch_size=256) for k, one in enumerate(standings)
    ]
    scale = Scale(finals)
    plain = Forecaster(scale, 0.5, standings[:-1], finals[:-1])(standings[-1])
    assert Forecaster(scale, 0.5, larger[:-1], finals[:-1])(larger[-1]) == plain


def test_a_curve_is_as_unsteady_as_its_last_values_scatter_about_its_course() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(scale=0.3, size=(2000, 8))
    assert all(unsteadiness(5.0 - 0.4 * np.arange(n)) < 1e-12 for n in range(1, 8))
    assert np.mean([unsteadiness(row) ** 2 for row in noise]) == pytest.approx(0.3**2, rel=0.05)
    assert unsteadiness([9.0, -9.0, 9.0, 5.0, 4.0, 3.0, 2.0, 1.0]) < 1e-12  # it has settled


def test_another_error_widens_a_band() -> None:
    forecast = Forecast(0.0, 3.0, 10.0)
    assert forecast.wider(4.0) == Forecast(0.0, 5.0, 10.0)


def test_the_latest_gain_is_that_of_the_last_quarter() -> None:
    assert standing([5.0, 4.0, 3.0, 2.0], None, 1.0) == Standing(2.0, 3.0, None)
    assert standing([5.0], None, -1.0) == Standing(-5.0, -5.0, None)
