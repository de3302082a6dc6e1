"""Where a training will end, judged by others: for pruning, and for the sampler.

Losses at the same moment say little about schedules whose loss falls late. What is still to come
depends on the rate now and on the rate still to be spent, so these are features of the forecast,
besides the loss itself and its latest gain. (That the rates to come decide is also what Luo et al.
2025, arXiv 2503.12811, and Schaipp et al. 2025, arXiv 2501.18965, find; here it is fitted.)

The model is linear with a conjugate prior (normal–inverse-gamma: Bishop 2006, section 3.3, Murphy
2007), so that with two or three complete trials its band is wide, and with many it is theirs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lrsearch.tuning.trajectory import Rates

Array = NDArray[np.float64]

_PRIOR_CHANGE = 1.0
"""Standard deviation of the change to come before anything is known, in units of the scale."""
_PRIOR_SLOPE = 1.0
"""The same of the weight of each feature, whose own standard deviation is 1."""
_PRIOR_NOISE, _PRIOR_COUNT = 0.4, 2.0
"""What the error of a forecast at the very start is thought to be, and how firmly (in trials)."""
_LEAST_LEFT = 0.02
"""Of the two: what there is to come is in proportion to the time that is left, but never less."""
_LEAST_SPREAD = 0.3
"""Of a feature: two trials that happen to be alike are no measure of it."""
_EARLIER = 0.75
_RECENT = 5
"""So many values tell how steady a curve is."""
_FURTHEST = 2.5
_LEAST_WITH_RATES = 4
_SMALLEST_SHARE = 1e-3


class Scale:
    """A monotone scale on which losses of any kind look alike; smaller is better.

    Linear up to the median and logarithmic above, so that a few huge losses do not drown the
    differences that count. The unit is what lies between the median and the better half's mean.
    """

    def __init__(self, values: Sequence[float]) -> None:
        ordered = np.sort(np.asarray(values, dtype=float))
        self.center = float(np.median(ordered))
        better = ordered[: max(1, (len(ordered) + 1) // 2)]
        spread = 1.5 * (self.center - float(better.mean()))
        least = 1e-9 * abs(self.center) + 1e-12
        self.unit = spread if spread > least else 0.3 * abs(self.center) + least

    def __call__(self, values: Sequence[float] | Array) -> Array:
        z = (np.asarray(values, dtype=float) - self.center) / self.unit
        return np.where(z <= 0, z, np.log1p(np.maximum(z, 0.0)))


@dataclass(frozen=True)
class Standing:
    """Where a training stands at some moment."""

    value: float
    """The metric, smaller being better."""
    earlier: float
    """The same at three quarters of the time so far."""
    rates: Rates | None
    """None where nobody knows the schedule: a plateau's, a user's own."""


def standing(values: Sequence[float], rates: Rates | None, sign: float) -> Standing:
    """Where a trial stands after its last value; `sign` is -1 where more is better."""
    earlier = earlier_evaluation(len(values))
    return Standing(sign * values[-1], sign * values[earlier - 1], rates)


def earlier_evaluation(evaluation: int) -> int:
    """The evaluation since which the latest gain is counted."""
    return max(1, math.floor(_EARLIER * evaluation))


def earlier_moment(progress: float, spacing: float) -> float:
    """The same for shares of the training, evaluations being so far apart."""
    return earlier_evaluation(round(progress / spacing)) * spacing


@dataclass(frozen=True)
class Peer:
    """Another trial at the same moment."""

    number: int
    standing: Standing
    final: float | None
    """Its value if it ran to its end, smaller being better."""


class History(Protocol):
    """The trials of a study at moments of their training."""

    def at(self, progress: float, spacing: float) -> Sequence[Peer]:
        """All that have a value at this share of their training, give or take half a spacing."""

    def reached(self) -> Mapping[int, tuple[int, int]]:
        """The last evaluation of each trial that is not complete, and how many a whole one has."""


@dataclass(frozen=True)
class Forecast:
    """A final value on a scale: Student's t with `count` degrees of freedom."""

    mean: float
    error: float
    count: float

    def wider(self, deviation: float) -> Forecast:
        """The same with one more error, independent of the others."""
        return replace(self, error=math.hypot(self.error, deviation))

    def probability_below(self, value: float) -> float:
        """How likely the final value is below this one."""
        from scipy.special import stdtr

        return float(stdtr(self.count, (value - self.mean) / self.error))


class Forecaster:
    """Learned from complete trials at one moment of their training (a share of the whole)."""

    def __init__(
        self, scale: Scale, progress: float, peers: Sequence[Standing], finals: Sequence[float]
    ) -> None:
        self._scale, self._progress = scale, progress
        self._references = _references(peers)
        scaled = scale(finals)
        self._plain = self._fitted(peers, scaled, with_rates=False)
        known = [k for k, peer in enumerate(peers) if peer.rates is not None]
        self._with_rates = None
        if len(known) >= _LEAST_WITH_RATES:
            self._with_rates = self._fitted([peers[k] for k in known], scaled[known], True)

    def __call__(self, standing: Standing) -> Forecast:
        """The forecast on the scale."""
        use_rates = self._with_rates is not None and standing.rates is not None
        model = self._with_rates if use_rates else self._plain
        assert model is not None
        features = self._features([standing], use_rates)
        change, error = model.predict(features)
        return Forecast(float(features[0, 0]) + change, error, model.count)

    def _fitted(self, peers: Sequence[Standing], finals: Array, with_rates: bool) -> _Linear:
        features = self._features(peers, with_rates)
        return _Linear(features, finals - features[:, 0], 1 - self._progress + _LEAST_LEFT)

    def _features(self, standings: Sequence[Standing], with_rates: bool) -> Array:
        """Standings × features; the first one is the value now."""
        now = self._scale([one.value for one in standings])
        features = [now, now - self._scale([one.earlier for one in standings])]
        if with_rates:
            rates = [one.rates for one in standings if one.rates is not None]
            peak = np.array([one.peak_per_sample for one in rates])
            reference = [self._references.get(r.optimizer, r.peak_per_sample) for r in rates]
            height = peak / np.array(reference)
            share = np.array([one.share_left for one in rates]) + _SMALLEST_SHARE
            of_peak = np.array([one.now / one.peak for one in rates])
            features += [
                np.sqrt(of_peak * height),
                np.log(share * height),
                np.sqrt(of_peak),
                np.log(share),
            ]
        return np.column_stack(features)


def unsteadiness(values: Sequence[float] | Array) -> float:
    """How far from its own course each of a curve's last values lies, as a standard deviation.

    By their second differences, whose variance is six times that of independent errors.
    """
    last = np.asarray(values, dtype=float)[-_RECENT:]
    jumps = np.diff(last, n=2)
    return math.sqrt(float(np.mean(jumps**2)) / 6) if len(jumps) else 0.0


def _references(peers: Sequence[Standing]) -> dict[str, float]:
    """The geometric mean of the peak rates per sample, by optimizer."""
    logs: dict[str, list[float]] = {}
    for peer in peers:
        if peer.rates is not None:
            log = math.log(peer.rates.peak_per_sample)
            logs.setdefault(peer.rates.optimizer, []).append(log)
    return {optimizer: math.exp(float(np.mean(values))) for optimizer, values in logs.items()}


class _Linear:
    """Bayesian linear regression on standardised features, its noise judged by leave-one-out."""

    def __init__(self, features: Array, targets: Array, left: float) -> None:
        n, noise = len(targets), left * _PRIOR_NOISE
        self._center = features.mean(axis=0)
        self._spread = np.maximum(features.std(axis=0), _LEAST_SPREAD)
        rows = self._rows(features)
        prior = np.full(rows.shape[1], (_PRIOR_NOISE / _PRIOR_SLOPE) ** 2)
        prior[0] = (_PRIOR_NOISE / _PRIOR_CHANGE) ** 2
        self._inverse = np.linalg.inv(rows.T @ rows + np.diag(prior))
        self._weights = self._inverse @ rows.T @ targets
        leverage = np.einsum("ij,jk,ik->i", rows, self._inverse, rows)
        errors = (targets - rows @ self._weights) / np.maximum(1 - leverage, 0.2)
        self.count = _PRIOR_COUNT + n
        self._variance = (_PRIOR_COUNT * noise**2 + float(errors @ errors)) / self.count

    def predict(self, features: Array) -> tuple[float, float]:
        """The target for one row of features, and its error."""
        row = self._rows(features)[0]
        variance = self._variance * (1 + float(row @ self._inverse @ row))
        return float(row @ self._weights), math.sqrt(variance)

    def _rows(self, features: Array) -> Array:
        # Far from all peers nobody knows: as if at the edge of what they span.
        standard = np.clip((features - self._center) / self._spread, -_FURTHEST, _FURTHEST)
        return np.column_stack([np.ones(len(features)), standard])
