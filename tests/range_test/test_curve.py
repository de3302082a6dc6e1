"""What one ramp shows, on curves whose rates are known."""

from __future__ import annotations

import dataclasses
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ramps import EDGE, STEEPEST, ramp_of, rates_of, trained

from lrsearch.range_test.curve import diverged_at, mean_curves, ramp_rates

FACTOR = 2.0
"""So far a rate that is found may lie from the true one."""


def close(found: float | None, true: float) -> bool:
    return found is not None and 1 / FACTOR <= found / true <= FACTOR


@pytest.mark.parametrize("steps", [50, 100])
@pytest.mark.parametrize("noise", [0.0, 0.03, 0.1])
@pytest.mark.parametrize("seed", range(3))
def test_the_rates_of_a_noisy_ramp_are_found(steps: int, noise: float, seed: int) -> None:
    seen = ramp_rates(ramp_of(trained(rates_of(steps), noise=noise, seed=seed), steps))
    assert close(seen.steepest, STEEPEST), seen
    assert close(seen.largest, EDGE), seen
    assert seen.diverged is not None
    assert seen.diverged > EDGE


@given(st.floats(1e-3, 1e3), st.integers(0, 5))
def test_in_other_units_of_the_loss_the_rates_are_the_same(scale: float, seed: int) -> None:
    losses = trained(rates_of(100), noise=0.05, seed=seed)
    seen = ramp_rates(ramp_of(losses))
    scaled = ramp_rates(ramp_of([scale * loss for loss in losses]))
    assert seen.steepest == pytest.approx(scaled.steepest)
    assert seen.largest == pytest.approx(scaled.largest)
    assert seen.diverged == pytest.approx(scaled.diverged)


@given(st.floats(1e-3, 1e3), st.integers(0, 5))
def test_where_all_rates_are_larger_by_a_factor_those_found_are(factor: float, seed: int) -> None:
    ramp = ramp_of(trained(rates_of(100), noise=0.05, seed=seed))
    larger = dataclasses.replace(ramp, rates=tuple(factor * rate for rate in ramp.rates))
    seen, moved = ramp_rates(ramp), ramp_rates(larger)
    assert moved.steepest == pytest.approx(factor * (seen.steepest or math.nan))
    assert moved.largest == pytest.approx(factor * (seen.largest or math.nan))


@given(st.integers(0, 200))
def test_they_lie_in_their_order_within_the_ramp(seed: int) -> None:
    ramp = ramp_of(trained(rates_of(80), noise=0.1, seed=seed))
    seen = ramp_rates(ramp)
    assert seen.steepest is not None
    assert seen.largest is not None
    assert ramp.rates[0] <= seen.steepest <= seen.largest <= ramp.rates[-1]


@pytest.mark.parametrize("worst", [math.nan, math.inf, 1e30])
def test_a_loss_that_breaks_off_ends_what_trains(worst: float) -> None:
    rates = rates_of(100)
    losses = [
        worst if rate > EDGE else loss for rate, loss in zip(rates, trained(rates), strict=True)
    ]
    seen = ramp_rates(ramp_of(losses))
    assert close(seen.steepest, STEEPEST)
    assert close(seen.largest, EDGE)
    assert seen.diverged == pytest.approx(EDGE, rel=0.6)


def test_a_ramp_that_never_diverges_has_no_largest_rate() -> None:
    rates = rates_of(100)
    seen = ramp_rates(ramp_of(trained(rates, edge=math.inf, noise=0.02)))
    assert close(seen.steepest, STEEPEST)
    assert (seen.largest, seen.diverged) == (None, None)


@pytest.mark.parametrize("noise", [0.0, 0.05, 0.25])
def test_noise_alone_is_hardly_ever_taken_for_a_fall(noise: float) -> None:
    taken = 0
    for seed in range(200):
        rng = random.Random(seed)
        taken += ramp_rates(ramp_of([2.3 + rng.gauss(0, noise) for _ in range(100)])).falls
    assert taken <= 4


def test_a_model_that_only_gets_worse_has_neither_rate_but_diverges() -> None:
    losses = [0.5 + (0.0 if rate < EDGE else 30 * rate) for rate in rates_of(100)]
    seen = ramp_rates(ramp_of(losses))
    assert (seen.steepest, seen.largest) == (None, None)
    assert close(seen.diverged, EDGE)


def test_a_fall_that_makes_up_for_a_peak_is_not_the_steepest() -> None:
    rates = rates_of(100)
    losses = [
        loss + 1.5 * math.exp(-((math.log10(rate / 0.08) / 0.15) ** 2))
        for rate, loss in zip(rates, trained(rates), strict=True)
    ]
    assert close(ramp_rates(ramp_of(losses)).steepest, STEEPEST)


@pytest.mark.parametrize("losses", [[], [1.0], [1.0, 0.9], [math.nan] * 5])
def test_too_few_steps_show_nothing(losses: list[float]) -> None:
    seen = ramp_rates(ramp_of(losses))
    assert not seen.falls
    assert mean_curves([ramp_of(losses)]) == []


def test_one_bad_batch_is_no_divergence() -> None:
    losses = [1.0] * 20
    losses[7] = 50.0
    assert diverged_at(losses) is None
    losses[8] = 50.0
    assert diverged_at(losses) == 8


@given(st.lists(st.floats(0.01, 10), max_size=60), st.integers(0, 60))
def test_whether_it_has_diverged_does_not_depend_on_what_comes_later(
    losses: list[float], cut: int
) -> None:
    early = diverged_at(losses[:cut])
    # The beginning is known once a tenth of the ramp has gone by.
    if early is not None and cut >= 30:
        assert diverged_at(losses) is not None


def test_the_curve_of_several_seeds_ends_where_the_first_diverges() -> None:
    losses = trained(rates_of(100))
    short = ramp_of(losses[:60])
    (curve,) = mean_curves([ramp_of(losses), short])
    assert len(curve.rates) == len(curve.losses) == 60
    assert curve.rates == short.rates
