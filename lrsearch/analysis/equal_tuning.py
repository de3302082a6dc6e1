"""The expected best of some trials of an option, and which option is best at equal tuning.

An option is a scheduler, or an optimizer; its values are those of independent trials. The expected
best of k trials is the mean, over all subsets of k of its n values, of the best value of the
subset: the unbiased estimator, which a single bad value does not move. (Drawn with replacement, as
in Dodge et al. 2019, "Show Your Work", the bad value may be all that is drawn.)

Intervals of differences are those of a studentised bootstrap (Hall 1992, "The Bootstrap and
Edgeworth Expansion", chapter 3): the difference over its jackknife error has a distribution that
depends little on that of the values, and is found by drawing trials from the values. They are drawn
from a smoothed distribution, since the best of many depends on the gaps between the best few
values: the quantile function is linear between the values, and goes on linearly beyond the best.
`benchmarks/statistics/equal_tuning.py` measures how often the intervals hold the truth.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Mode = Literal["min", "max"]

_DRAWS = 2000
_INTERVAL = 0.95
_SURE = 0.985
"""Probability of being the best from which on an option is the winner.

Of two equal options either may seem the winner: so one is named in twice the rest of cases, which
leaves room for what is approximate in the probabilities.
"""
_ONE_SIDED = 0.15
"""How much wider an interval is where the values of one option alone make it uncertain.

The errors of two options are skewed alike and cancel in part; the bootstrap, which takes its skew
from the values themselves, finds too little of it where they cannot. Measured by the benchmark.
"""


@dataclass(frozen=True)
class Interval:
    """An estimate and its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def error(self) -> float:
        """Half the width of the interval."""
        return (self.high - self.low) / 2

    def scaled(self, factor: float, shift: float = 0.0) -> Interval:
        """Return the interval of the value times a factor, plus a shift."""
        value, low, high = (shift + factor * x for x in (self.value, self.low, self.high))
        return Interval(value, min(low, high), max(low, high))

    def within(self, least: float, most: float) -> Interval:
        """Return the part of the interval that lies within limits."""
        return Interval(self.value, max(self.low, least), min(self.high, most))


@dataclass(frozen=True)
class Place:
    """An option among those that it is compared with."""

    expected: Interval
    """Expected best."""
    behind: Interval
    """How much worse its expected best is than that of the first; 0 for the first itself."""
    probability: float
    """Of being the best of all options."""
    may_be_best: bool
    """Whether it is among the likeliest, of which one is the best almost surely."""


def expected_best(values: Sequence[float] | Array, tries: int, mode: Mode) -> float:
    """Return the mean best of all subsets of `tries` values. Raises ValueError with fewer."""
    if not 1 <= tries <= len(values):
        raise ValueError(f"the best of {tries} of {len(values)} values")
    ordered = np.sort(np.asarray(values, float) * _sign(mode))
    weights = _weights(len(ordered), tries)
    return float(_sign(mode) * (ordered[: len(weights)] @ weights))


def compare(
    values: Mapping[str, Sequence[float]], tries: Mapping[str, int], mode: Mode
) -> dict[str, Place]:
    """Compare options by their values, each by the expected best of `tries` trials.

    The best comes first. An option needs more values than tries. Raises ValueError where it has
    not.
    """
    for name, of_option in values.items():
        if not 1 <= tries[name] < len(of_option):
            raise ValueError(f"the best of {tries[name]} of {len(of_option)} values of {name}")
    if not values:
        return {}
    # From the best value, in units of the spread: equal values must not differ by rounding, and
    # squares of huge ones must be finite.
    sign = _sign(mode)
    losses = {name: np.sort(sign * np.asarray(of, float)) for name, of in values.items()}
    least = min(float(of[0]) for of in losses.values())
    unit = max(float(of[-1]) for of in losses.values()) - least or 1.0
    estimates = {
        name: _estimate((losses[name] - least) / unit, tries[name], seed)
        for seed, name in enumerate(sorted(values))
    }
    ranked = sorted(estimates, key=lambda name: (estimates[name].mean, name))
    first = estimates[ranked[0]]
    wins = _wins([estimates[name] for name in ranked])
    places = {}
    for k, name in enumerate(ranked):
        own = estimates[name]
        reach = float(np.quantile(np.abs(own.pivots), _INTERVAL)) * own.error
        expected = Interval(own.mean, own.mean - reach, own.mean + reach).scaled(unit, least)
        behind = Interval(0.0, 0.0, 0.0)
        if own is not first:
            behind = _Pair(own, first).interval().scaled(unit)
        # Those that are likelier do not make up for nearly all of the probability without it.
        likelier = sum(share for share in wins if share > wins[k])
        places[name] = Place(expected.scaled(sign), behind, wins[k], likelier < _SURE)
    return places


def _sign(mode: Mode) -> float:
    return 1.0 if mode == "min" else -1.0


@functools.lru_cache(maxsize=1024)
def _weights(n: int, k: int) -> Array:
    """Return the probability of each of n ordered values to be the best of a subset of k.

    Only of values that can be: the best n - k + 1 at most, and of thousands the best few dozens.
    """
    weights = [k / n]
    for i in range(1, n - k + 1):
        weight = weights[-1] * (n - i - k + 1) / (n - i)
        if weight < _NEVER:
            break
        weights.append(weight)
    return np.array(weights)


@dataclass(frozen=True)
class _Estimate:
    """An expected best, smaller is better, and what drawing trials anew says of its error."""

    count: int
    """Number of values."""
    mean: float
    error: float
    """Jackknife standard error."""
    deviations: Array
    """Deviation from the truth in each draw."""
    errors: Array
    """Jackknife standard error in each draw."""

    @property
    def pivots(self) -> Array:
        """Deviation over error in each draw."""
        return self.deviations / _at_least(self.errors, self.error)


_LEAST_ERROR = 0.1
"""Error of a draw, over that of the values themselves, that is taken for no smaller.

Where values are equal, as those that count as the worst complete one, some draws have nothing but
equal values. Their error is 0, and the deviation over it has no bound.
"""
_TINY = 1e-150
_NEVER = 1e-20
"""A probability that adds nothing to a mean."""


def _at_least(errors: Array, error: float) -> Array:
    return np.maximum(errors, max(_LEAST_ERROR * error, _TINY))


def _estimate(ordered: Array, tries: int, seed: int) -> _Estimate:
    n = len(ordered)
    mean, error = _mean_and_error(ordered, n, tries)
    # Quantile function: linear through the values, and on beyond the best and the worst.
    steps = max(2, min(n - 1, round(math.sqrt(n)) + 1)) - 1
    best = ordered[0] - (ordered[steps] - ordered[0]) / steps
    worst = 2 * ordered[-1] - ordered[-2]
    nodes = np.concatenate([[best], ordered, [worst]])
    shares = np.arange(n + 2) / (n + 1)
    # The least of n uniform numbers: shares of sums of exponential ones (Devroye 1986,
    # "Non-Uniform Random Variate Generation", chapter V).
    random, head = np.random.default_rng(seed), _head(n, tries)
    sums = np.cumsum(random.standard_exponential((_DRAWS, head)), axis=1)
    drawn = sums / (sums[:, -1:] + random.standard_gamma(n + 1 - head, (_DRAWS, 1)))
    means, errors = _mean_and_error(np.interp(drawn, shares, nodes), n, tries)
    left = (1 - shares) ** (tries + 1) / (tries + 1)
    truth = nodes[0] + np.diff(nodes) @ (left[:-1] - left[1:]) * (n + 1)
    return _Estimate(n, float(mean), float(error), means - truth, errors)


def _head(n: int, tries: int) -> int:
    """Return how many of the best of n values the expected best and its error depend on."""
    return max(len(_weights(n, tries)), len(_weights(n - 1, tries)) + 1)


def _mean_and_error(ordered: Array, n: int, tries: int) -> tuple[Array, Array]:
    """Return the expected best of n values and its jackknife error.

    `ordered` are the best of the values, `_head` at least, along the last axis.
    """
    own, rest = _weights(n, tries), _weights(n - 1, tries)
    mean = ordered[..., : len(own)] @ own
    # Without the i-th value, those before it keep their rank, and those after it gain one.
    m = len(rest)
    before = np.zeros_like(ordered[..., :m])
    kept = np.cumsum(ordered[..., :m] * rest, axis=-1)
    before[..., 1:] = kept[..., :-1]
    after = np.cumsum((ordered[..., 1 : m + 1] * rest)[..., ::-1], axis=-1)[..., ::-1]
    without = before + after
    others = kept[..., -1]  # without any of the values from the m-th on
    centre = (without.sum(axis=-1) + (n - m) * others) / n
    squares = ((without - centre[..., None]) ** 2).sum(axis=-1) + (n - m) * (others - centre) ** 2
    return mean, np.sqrt((n - 1) / n * squares)


class _Pair:
    """The difference of two expected bests."""

    def __init__(self, one: _Estimate, other: _Estimate) -> None:
        self.difference = one.mean - other.mean
        self.error = math.hypot(one.error, other.error)
        errors = _at_least(np.hypot(one.errors, other.errors), self.error)
        if self.error > 0:
            dominance = abs(one.error**2 - other.error**2) / self.error**2
            self.error *= 1 + _ONE_SIDED * dominance
        self.chance = 1 / math.comb(one.count + other.count, one.count)
        """Probability that of equal options all values of a given one are the better ones."""
        self.pivots: Array = (one.deviations - other.deviations) / errors

    def interval(self) -> Interval:
        """Return the interval, symmetric about the difference."""
        reach = float(np.quantile(np.abs(self.pivots), _INTERVAL)) * self.error
        return Interval(self.difference, self.difference - reach, self.difference + reach)

    def is_better(self) -> NDArray[np.bool_]:
        """Return whether the first of the two is better, in draws with either sign."""
        shifts = self.error * np.concatenate([self.pivots, -self.pivots])
        better: NDArray[np.bool_] = self.difference + shifts < 0
        return better


def _wins(estimates: Sequence[_Estimate]) -> list[float]:
    """Return the probability of each of being the best.

    A few values of each may be apart by chance, however little they vary: three values are below
    three others once in twenty times.
    """
    best = np.ones((len(estimates), 2 * _DRAWS), bool)
    random = np.random.default_rng(0)
    luck = random.random(best.shape)
    for i, one in enumerate(estimates):
        for j in range(i + 1, len(estimates)):
            pair = _Pair(one, estimates[j])
            is_tie = pair.error == 0 == pair.difference
            better = luck[i] < luck[j] if is_tie else pair.is_better()
            better = better ^ (random.random(2 * _DRAWS) < pair.chance)
            best[i] &= better
            best[j] &= ~better
    shares = best.mean(axis=1)
    total = float(shares.sum())
    return [float(share / total) if total else 1 / len(estimates) for share in shares]
