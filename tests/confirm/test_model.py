"""The model of a confirmation: laws that hold for all values, and how often it is right."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrsearch.confirm.model import Estimate, estimate

Values = dict[int, dict[int, float]]


@st.composite
def some_values(draw: st.DrawFn) -> Values:
    """Two to four candidates on two or three seeds; one may lack some."""
    candidates, seeds = draw(st.integers(2, 4)), draw(st.integers(2, 3))
    # Of a size that rounding does not reach.
    number = st.integers(-1000, 1000).map(lambda k: k / 100)
    values = {c: {s: draw(number) for s in range(seeds)} for c in range(candidates)}
    kept = draw(st.integers(1, seeds))
    values[0] = {s: values[0][s] for s in range(kept)}
    return values


def changed(values: Values, factor: float, shift: float) -> Values:
    return {
        c: {s: factor * value + shift for s, value in by_seed.items()}
        for c, by_seed in values.items()
    }


def close(found: Estimate, wanted: Estimate, factor: float = 1.0, shift: float = 0.0) -> None:
    """The same after values were multiplied and moved."""
    for name in ("mean", "low", "high"):
        there = factor * getattr(wanted, name) + shift
        assert getattr(found, name) == pytest.approx(there, rel=1e-6, abs=1e-6 * factor)
    assert found.behind == pytest.approx(factor * wanted.behind, rel=1e-6, abs=1e-6 * factor)
    # A draw may fall to the other side of a tie.
    assert found.probability == pytest.approx(wanted.probability, abs=2e-3)


@settings(max_examples=25, deadline=None)
@given(some_values())
def test_probabilities_sum_to_one_and_intervals_hold_their_means(values: Values) -> None:
    found = estimate(values, "min")
    assert sum(one.probability for one in found.values()) == pytest.approx(1.0)
    assert all(one.low <= one.mean <= one.high for one in found.values())
    assert all(one.behind_low <= one.behind <= one.behind_high for one in found.values())
    assert min(abs(one.behind) for one in found.values()) == 0.0


@settings(max_examples=20, deadline=None)
@given(some_values(), st.randoms())
def test_the_order_of_candidates_and_seeds_does_not_matter(values: Values, random: object) -> None:
    names = list(values)
    random.shuffle(names)  # type: ignore[attr-defined]
    again = {name: dict(reversed(values[name].items())) for name in names}
    found, wanted = estimate(again, "min"), estimate(values, "min")
    equal = {tuple(sorted(by_seed.values())) for by_seed in values.values()}
    if len(equal) == len(values):  # of candidates that are equal either may come first
        assert found == wanted


@settings(max_examples=20, deadline=None)
@given(some_values(), st.sampled_from([1e-3, 0.5, 1e3]), st.sampled_from([-5.0, 0.0, 7.0]))
def test_unit_and_zero_of_the_values_do_not_matter(
    values: Values, factor: float, shift: float
) -> None:
    wanted = estimate(values, "min")
    found = estimate(changed(values, factor, factor * shift), "min")
    for name in values:
        close(found[name], wanted[name], factor, factor * shift)


@settings(max_examples=20, deadline=None)
@given(some_values())
def test_more_is_better_is_less_is_better_turned_round(values: Values) -> None:
    lower = estimate(values, "min")
    higher = estimate(changed(values, -1.0, 0.0), "max")
    for name in values:
        assert higher[name].mean == -lower[name].mean
        assert (higher[name].low, higher[name].high) == (-lower[name].high, -lower[name].low)
        assert higher[name].probability == lower[name].probability
        assert higher[name].behind == lower[name].behind


def test_a_seed_that_is_hard_for_all_does_not_blur_the_comparison() -> None:
    apart = {c: {s: 10.0 * s + c + 0.1 * ((c + s) % 2) for s in range(4)} for c in range(2)}
    found = estimate(apart, "min")
    assert found[0].probability > 0.97
    assert found[1].behind_low > 0
    assert found[0].high - found[0].low > 5  # the mean itself is not known well


def test_equal_values_are_equally_good_without_noise() -> None:
    found = estimate({1: {7: 0.5, 8: 0.5}, 2: {7: 0.5, 8: 0.5}}, "max")
    assert found[1] == found[2] == Estimate(0.5, 0.5, 0.5, 0.0, 0.0, 0.0, 0.5)


def test_a_training_that_seeds_do_not_change_has_a_certain_winner() -> None:
    found = estimate({c: {s: float(c) for s in range(3)} for c in range(3)}, "min")
    assert found[0].probability > 0.999
    assert found[0].high - found[0].low < 0.01


def test_one_candidate_alone_is_the_best_with_an_interval() -> None:
    only = estimate({4: {0: 1.0, 1: 1.2, 2: 0.8}}, "min")[4]
    assert only.probability == 1.0
    assert only.low < 1.0 < only.high


@pytest.mark.parametrize("wrong", [{1: {}}, {1: {0: 1.0}, 2: {0: float("nan")}}])
def test_values_that_are_missing_or_not_finite_are_refused(wrong: Values) -> None:
    with pytest.raises(ValueError, match=r"no value|not finite"):
        estimate(wrong, "min")


# How often it is right, on values of known origin


def simulate(tau: float, candidates: int, seeds: int, times: int) -> dict[str, float]:
    """Of noise 1 and seed effects 0.5; candidates differ by `tau`. Shares of what came true."""
    random = np.random.default_rng(int(10 * tau) + seeds)
    covered, said, right, dropped, wrongly = [], [], [], 0, 0
    for _ in range(times):
        truth = random.normal(0.0, tau, candidates) if tau else np.zeros(candidates)
        effects = random.normal(0.0, 0.5, seeds)
        y = truth[:, None] + effects + random.normal(0.0, 1.0, (candidates, seeds))
        found = estimate({c: dict(enumerate(map(float, y[c]))) for c in range(candidates)}, "min")
        covered += [found[c].low <= truth[c] <= found[c].high for c in found]
        best = max(found, key=lambda c: found[c].probability)
        said.append(found[best].probability)
        right.append(truth[best] == truth.min())
        hopeless = [c for c in found if found[c].probability < 0.02]
        dropped += len(hopeless)
        wrongly += sum(truth[c] == truth.min() for c in hopeless)
    return {
        "covered": float(np.mean(covered)),
        "said": float(np.mean(said)),
        "right": float(np.mean(right)),
        "dropped": dropped / (times * candidates),
        "wrongly": wrongly / times,
    }


@pytest.mark.parametrize("tau", [1.0, 3.0])
def test_intervals_hold_the_truth_about_95_times_in_100_and_probabilities_come_true(
    tau: float,
) -> None:
    shares = simulate(tau, candidates=4, seeds=4, times=60)
    assert 0.93 <= shares["covered"] <= 1.0
    assert shares["right"] == pytest.approx(shares["said"], abs=0.12)


def test_few_seeds_make_intervals_wide_not_wrong() -> None:
    assert simulate(1.0, candidates=3, seeds=2, times=50)["covered"] >= 0.95


def test_of_equals_hardly_any_is_given_up_and_of_others_hardly_ever_the_best() -> None:
    noise = simulate(0.0, candidates=3, seeds=3, times=60)
    assert noise["dropped"] <= 0.04
    clear = simulate(3.0, candidates=4, seeds=3, times=60)
    assert clear["wrongly"] <= 0.04
    assert clear["dropped"] >= 0.25  # but the clearly worse are
