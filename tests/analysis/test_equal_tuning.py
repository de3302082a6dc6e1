"""The expected best of some trials, and comparisons by it whose truth is known."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import ndtri

from lrsearch.analysis.equal_tuning import Interval, compare, expected_best

Array = NDArray[np.float64]
VALUES = st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=9)
STUDIES = 300
SHARES = (np.arange(100_000) + 0.5) / 100_000


@given(VALUES, st.integers(1, 9), st.sampled_from(["min", "max"]))
def test_it_is_the_mean_best_of_all_subsets(values: list[float], tries: int, mode: str) -> None:
    tries = min(tries, len(values))
    best = min if mode == "min" else max
    subsets = [best(subset) for subset in itertools.combinations(values, tries)]
    assert expected_best(values, tries, mode) == pytest.approx(  # type: ignore[arg-type]
        statistics.fmean(subsets), abs=1e-6
    )


@given(VALUES)
def test_more_tries_are_never_expected_to_be_worse(values: list[float]) -> None:
    expected = [expected_best(values, k, "min") for k in range(1, len(values) + 1)]
    assert all(more <= fewer + 1e-6 for fewer, more in itertools.pairwise(expected))
    assert expected[-1] == min(values)


@pytest.mark.parametrize("tries", [2, 3])
def test_a_single_bad_value_does_not_move_it(tries: int) -> None:
    """Drawn with replacement, the best of two was expected to be 0.359."""
    assert expected_best([0.0411, 0.0411, 2.90], tries, "min") == pytest.approx(0.0411)


def test_the_best_of_more_values_than_there_are_is_an_error() -> None:
    with pytest.raises(ValueError, match="the best of 3 of 2 values"):
        expected_best([1.0, 2.0], 3, "min")
    with pytest.raises(ValueError, match="of a"):
        compare({"a": [1.0, 2.0], "b": [1.0, 2.0, 3.0]}, {"a": 2, "b": 2}, "min")


def test_where_more_is_better_a_comparison_mirrors_that_where_less_is() -> None:
    random = np.random.default_rng(3)
    values = {name: random.random(9).tolist() for name in "abc"}
    tries = dict.fromkeys("abc", 4)
    least = compare(values, tries, "min")
    most = compare({name: [-v for v in of] for name, of in values.items()}, tries, "max")
    assert list(most) == list(least)
    for name, place in least.items():
        own, expected = most[name], place.expected
        assert own.expected == Interval(-expected.value, -expected.high, -expected.low)
        assert (own.behind, own.probability) == (place.behind, place.probability)


def test_it_is_the_same_at_each_visit_and_in_any_order_of_trials() -> None:
    random = np.random.default_rng(4)
    values = {name: random.random(8).tolist() for name in "ab"}
    tries = dict.fromkeys("ab", 4)
    again = {name: of[::-1] for name, of in reversed(values.items())}
    assert compare(again, tries, "min") == compare(values, tries, "min")


def test_equal_values_tie() -> None:
    values = {"a": [1.0] * 8, "b": [2.0] * 8, "c": [1.0] * 8}
    places = compare(values, dict.fromkeys(values, 4), "min")
    assert [name for name, place in places.items() if place.may_be_best] == ["a", "c"]
    assert places["a"].probability == pytest.approx(0.5, abs=0.05)
    assert places["c"].behind == Interval(0, 0, 0)


@pytest.mark.parametrize("tries", [2, 3])
@pytest.mark.parametrize("spread", [0.0, 1e-9])
@pytest.mark.parametrize("bad", [2, 3, 5])
def test_values_that_are_nearly_all_equal_do_not_make_an_interval_endless(
    bad: int, spread: float, tries: int
) -> None:
    """Trials that diverged count as the worst complete one: drawn alone, they do not vary."""
    worst = [0.82 + spread * i for i in range(bad)]
    values = {"a": [0.66, 0.75, *worst], "b": [0.04, *worst, 0.82]}
    places = compare(values, dict.fromkeys(values, tries), "min")
    for place in places.values():
        assert abs(place.expected.low) < 10
        assert abs(place.behind.low) < 10


def test_an_option_that_is_far_better_wins() -> None:
    random = np.random.default_rng(5)
    values = {"a": random.random(20), "b": random.random(20) + 3, "c": random.random(9) + 4}
    places = compare(
        {name: of.tolist() for name, of in values.items()}, dict.fromkeys("abc", 4), "min"
    )
    assert [name for name, place in places.items() if place.may_be_best] == ["a"]
    assert places["a"].probability > 0.99
    assert places["b"].behind.low > 2


def test_probabilities_sum_to_one() -> None:
    random = np.random.default_rng(6)
    values = {name: random.random(12).tolist() for name in "abcd"}
    places = compare(values, dict.fromkeys("abcd", 6), "min")
    assert sum(place.probability for place in places.values()) == pytest.approx(1)


def bowl(u: Array) -> Array:
    return u


def log_normal(u: Array) -> Array:
    return np.asarray(np.exp(ndtri(u)))


def diverging(u: Array) -> Array:
    """Three in ten diverge, and count as the worst that did not."""
    return np.minimum(u / 0.7, 1.0)


def heavy(u: Array) -> Array:
    return np.asarray((1 - u) ** (-1 / 1.2))


def true_expected_best(quantiles: Callable[[Array], Array], tries: int) -> float:
    """Integrate over the probability that the best is above the quantile of u: (1 - u)^k."""
    return float(np.mean(quantiles(1 - SHARES ** (1 / tries))))


@pytest.mark.parametrize(
    ("shapes", "trials"),
    [
        ((log_normal, heavy), (10, 20)),
        ((diverging, bowl), (16, 16)),
    ],
)
def test_the_interval_of_a_difference_holds_the_truth_as_often_as_it_says(
    shapes: tuple[Callable[[Array], Array], ...], trials: tuple[int, ...]
) -> None:
    """`benchmarks/statistics/equal_tuning.py` measures it more precisely, for more kinds."""
    random, k = np.random.default_rng(0), min(trials) // 2
    truth = [true_expected_best(shape, k) for shape in shapes]
    held = named = 0
    for _ in range(STUDIES):
        values = {
            name: (shape(random.random(n)) - mean).tolist()
            for name, shape, n, mean in zip("ab", shapes, trials, truth, strict=True)
        }
        second = [*compare(values, dict.fromkeys("ab", k), "min").values()][1]
        held += second.behind.low <= 0 <= second.behind.high
        named += not second.may_be_best
    # 93 to 97 %, and at most 5 %, with room for twice the binomial error of 300 studies.
    assert 0.90 * STUDIES <= held <= 0.995 * STUDIES
    assert named <= 0.05 * STUDIES


def test_of_several_equal_options_a_winner_is_seldom_named() -> None:
    random, names = np.random.default_rng(1), "abcdef"
    named = 0
    for _ in range(60):
        values = {name: random.random(8 + i).tolist() for i, name in enumerate(names)}
        places = compare(values, dict.fromkeys(names, 4), "min")
        named += sum(place.may_be_best for place in places.values()) == 1
    assert named <= 3


@given(
    st.sampled_from([0.3, 0.1, -2.7, 1e-30, 1e12]),
    st.lists(st.integers(3, 30), min_size=2, max_size=4),
)
def test_options_of_equal_values_tie(value: float, counts: list[int]) -> None:
    """Rounding made 0.3 of seven trials better than 0.3 of eight, with probability over 99 %."""
    values = {f"option {k}": [value] * count for k, count in enumerate(counts)}
    places = compare(values, dict.fromkeys(values, 2), "min")
    for place in places.values():
        assert place.expected == Interval(value, value, value)
        assert place.behind == Interval(0.0, 0.0, 0.0)
        assert place.may_be_best
        assert place.probability == pytest.approx(1 / len(counts), abs=0.04)


@pytest.mark.parametrize(("count", "is_sure"), [(3, False), (9, True)])
def test_a_few_values_that_do_not_vary_make_no_winner(count: int, is_sure: bool) -> None:
    """Of equal options, three values are above three others once in twenty times."""
    places = compare({"a": [0.9] * count, "b": [1.0] * count}, {"a": 2, "b": 2}, "max")
    assert list(places) == ["b", "a"]
    assert places["a"].may_be_best is not is_sure


@pytest.mark.parametrize("unit", [1e-30, 1e12, 1e300])
def test_the_unit_of_the_values_does_not_matter(unit: float) -> None:
    random = np.random.default_rng(5)
    values = {name: random.random(9) for name in "abc"}
    tries = dict.fromkeys("abc", 4)
    places = compare({name: of.tolist() for name, of in values.items()}, tries, "min")
    others = compare({name: (unit * of).tolist() for name, of in values.items()}, tries, "min")
    for name, place in places.items():
        assert others[name].probability == pytest.approx(place.probability, abs=1e-3)
        assert others[name].behind.high == pytest.approx(unit * place.behind.high)


def test_of_thousands_of_values_the_expected_best_is_exact() -> None:
    """Of n values that are evenly spaced from 1 to n it is (n + 1) / (k + 1)."""
    for tries in (2, 50, 1500):
        best = expected_best(np.arange(1.0, 3001.0), tries, "min")
        assert best == pytest.approx(3001 / (tries + 1), rel=1e-9)
