"""Forecast of the final value of a training from complete trials: for pruning and the sampler.

Losses at the same moment say little about schedules whose loss falls late. The change still to
come depends on the rate now and on the area under the rest of the schedule, so these are features
of the forecast, besides the loss itself and its latest gain. (Luo et al. 2025, arXiv 2503.12811,
and Schaipp et al. 2025, arXiv 2501.18965, also find that the rates to come decide.)

The model is a linear regression with a conjugate prior (normal–inverse-gamma: Bishop 2006, section
3.3, Murphy 2007): with two or three complete trials its error is large, and with many it is theirs.
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
"""Prior standard deviation of the change to come, in units of the scale."""
_PRIOR_SLOPE = 1.0
"""Prior standard deviation of the weight of each feature; features are standardised."""
_PRIOR_NOISE, _PRIOR_COUNT = 0.4, 2.0
"""Prior error of a forecast at the start of a training, and its weight in trials."""
_LEAST_LEFT = 0.02
"""Added to the share of time that is left, to which the prior error is proportional."""
_LEAST_SPREAD = 0.3
"""Least standard deviation of a feature: two trials may have equal values by chance."""
EARLIER = 0.75
"""Share of the time so far since which the latest gain is counted."""
_RECENT = 5
"""Number of last values from which the unsteadiness of a curve is estimated."""
_FURTHEST = 2.5
"""Standardised features are clipped to this distance from 0."""
_LEAST_WITH_RATES = 4
"""Complete trials with known rates from which on rates are features."""
_SMALLEST_SHARE = 1e-3
"""Added to the share of the schedule still to come, so that its logarithm is finite."""


class Scale:
    """A monotone scale on which losses of any kind look alike; smaller is better.

    Linear up to the median and logarithmic above, so that a few huge losses do not hide the
    differences that count. The unit is 1.5 times the distance between the median and the mean of
    the better half.
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

    def value(self, scaled: float) -> float:
        """Return the value at a position on the scale: the inverse of a call."""
        return self.center + self.unit * (scaled if scaled <= 0 else math.expm1(scaled))


@dataclass(frozen=True)
class Standing:
    """The state of a training at one moment, as the forecast sees it."""

    value: float
    """Value of the metric now; smaller is better."""
    earlier: float
    """Value of the metric at three quarters of the time so far."""
    rates: Rates | None
    """None where the schedule is not known: of a plateau, or of the user's own training."""


def standing(values: Sequence[float], rates: Rates | None, sign: float) -> Standing:
    """Return the standing of a trial at its last value; `sign` is -1 where more is better."""
    earlier = earlier_evaluation(len(values))
    return Standing(sign * values[-1], sign * values[earlier - 1], rates)


def earlier_evaluation(evaluation: int) -> int:
    """Return the evaluation since which the latest gain is counted."""
    return max(1, math.floor(EARLIER * evaluation))


def earlier_moment(progress: float, spacing: float) -> float:
    """Return the share of the training since which the latest gain is counted.

    `progress` is the share now, `spacing` that between two evaluations.
    """
    return earlier_evaluation(round(progress / spacing)) * spacing


@dataclass(frozen=True)
class Peer:
    """Another trial at the same share of its training."""

    number: int
    standing: Standing
    final: float | None
    """Its final value if it is complete, else None; smaller is better."""


class History(Protocol):
    """The trials of a study at moments of their training."""

    def at(self, progress: float, spacing: float) -> Sequence[Peer]:
        """Return the trials with a value at a share of their training, within half a spacing.

        Of several values of a trial there, the latest counts.
        """

    def reached(self) -> Mapping[int, tuple[int, int]]:
        """Return, of each incomplete trial by number, its values so far and those planned.

        Both are numbers of values at which trials are compared.
        """


@dataclass(frozen=True)
class Forecast:
    """Distribution of a final value on a scale: Student's t with `count` degrees of freedom."""

    mean: float
    error: float
    count: float

    def wider(self, deviation: float) -> Forecast:
        """Return the forecast with an additional, independent error."""
        return replace(self, error=math.hypot(self.error, deviation))

    def probability_below(self, value: float) -> float:
        """Return the probability that the final value is below `value`."""
        from scipy.special import stdtr

        return float(stdtr(self.count, (value - self.mean) / self.error))


class Forecaster:
    """Forecasts final values at one moment, by complete trials at the same share of training."""

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
        """Return the forecast of a trial, on the scale."""
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
        """Return the features; shape: standings × features. The first one is the value now."""
        now = self._scale([standing.value for standing in standings])
        features = [now, now - self._scale([standing.earlier for standing in standings])]
        if with_rates:
            rates = [standing.rates for standing in standings if standing.rates is not None]
            peak = np.array([rate.peak_per_sample for rate in rates])
            reference = [self._references.get(r.optimizer, r.peak_per_sample) for r in rates]
            height = peak / np.array(reference)
            share = np.array([rate.share_left for rate in rates]) + _SMALLEST_SHARE
            of_peak = np.array([rate.now / rate.peak for rate in rates])
            features += [
                np.sqrt(of_peak * height),
                np.log(share * height),
                np.sqrt(of_peak),
                np.log(share),
            ]
        return np.column_stack(features)


def unsteadiness(values: Sequence[float] | Array) -> float:
    """Return the standard deviation of a curve's last values from its smooth course.

    From their second differences, whose variance is six times that of independent errors.
    """
    last = np.asarray(values, dtype=float)[-_RECENT:]
    jumps = np.diff(last, n=2)
    return math.sqrt(float(np.mean(jumps**2)) / 6) if len(jumps) else 0.0


def _references(peers: Sequence[Standing]) -> dict[str, float]:
    """Return the geometric mean of the peak rates per sample, by optimizer."""
    logs: dict[str, list[float]] = {}
    for peer in peers:
        if peer.rates is not None:
            log = math.log(peer.rates.peak_per_sample)
            logs.setdefault(peer.rates.optimizer, []).append(log)
    return {optimizer: math.exp(float(np.mean(values))) for optimizer, values in logs.items()}


class _Linear:
    """Bayesian linear regression on standardised features, with noise by leave-one-out errors."""

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
        """Return the predicted target for one row of features, and its standard error."""
        row = self._rows(features)[0]
        variance = self._variance * (1 + float(row @ self._inverse @ row))
        return float(row @ self._weights), math.sqrt(variance)

    def _rows(self, features: Array) -> Array:
        # Do not extrapolate: beyond the span of the peers, predict as at its edge.
        standard = np.clip((features - self._center) / self._spread, -_FURTHEST, _FURTHEST)
        return np.column_stack([np.ones(len(features)), standard])
