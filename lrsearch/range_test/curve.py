"""Analysis of one ramp: a training whose learning rate rises by a constant factor each step.

After Smith 2017, "Cyclical Learning Rates for Training Neural Networks" (arXiv 1506.01186). Losses
of single batches are noisy, and a running average lags, which would give too large a rate. So
the loss and its slope come from a local linear regression over the logarithm of the rate (Fan and
Gijbels 1996, "Local Polynomial Modelling and Its Applications"), which looks to both sides.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BANDWIDTH = 0.15
"""Standard deviation of the regression's Gaussian weights, in decades of the rate."""
LOST = 0.1
"""Share of the total fall of the loss; a rate trains while the loss has risen by less than it."""
_LEAST_STEPS = 8
"""Steps that a ramp needs to be analysed."""
_LEAST_FALL = 0.01
"""Least fall of the loss that counts, as a share of the loss at the beginning."""
_NOISE = 3.0
"""Least fall of the loss that counts, in standard deviations of its noise."""

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Ramp:
    """One ramp: the rate and the loss of each step, until it ended or diverged."""

    optimizer: str
    batch_size: int
    seed: int
    rates: tuple[float, ...]
    losses: tuple[float, ...]
    """Losses at each step; the last ones may not be finite."""


@dataclass(frozen=True)
class RampRates:
    """Characteristic rates of one ramp; None where it has none."""

    steepest: float | None
    """Rate at which the loss falls fastest, over the logarithm of the rate, to a new minimum."""
    largest: float | None
    """Largest rate that still trains: beyond it the loss rises and does not return."""
    diverged: float | None
    """Rate at which the loss is up where it began, or not finite."""

    @property
    def falls(self) -> bool:
        """Whether the loss falls at some rate."""
        return self.steepest is not None


def diverged_at(losses: Sequence[float]) -> int | None:
    """Return the index of the first step at which the loss has diverged; None where none has.

    It has where it is not finite, or where the median of three losses in a row (so that a single
    bad batch does not count) exceeds the best so far by the fall up to that best, or by the best
    itself, whichever is more.
    """
    if not losses:
        return None
    known = np.asarray(losses, dtype=np.float64)
    broken = np.flatnonzero(~np.isfinite(known))
    finite = known[: int(broken[0])] if len(broken) else known
    if len(finite) >= 3:
        medians = np.median(np.lib.stride_tricks.sliding_window_view(finite, 3), axis=1)
        best = np.minimum.accumulate(medians)
        limit = best + np.maximum(_beginning(finite) - best, np.abs(best))
        up = np.flatnonzero(medians > limit)
        if len(up):
            return int(up[0]) + 2
    return int(broken[0]) if len(broken) else None


def ramp_rates(ramp: Ramp) -> RampRates:
    """Find the characteristic rates of a ramp."""
    end = diverged_at(ramp.losses)
    diverged = None if end is None else ramp.rates[end]
    finite = _finite(ramp)
    if len(finite) < _LEAST_STEPS:
        return RampRates(None, None, diverged)
    rates = np.asarray(ramp.rates[: len(finite)])
    level, slope = smoothed(rates, finite)
    lowest = int(np.argmin(level))
    fall = _beginning(finite) - float(level[lowest])
    noise = _noise(finite[: max(lowest + 1, len(finite) // 4)])
    if fall <= max(_NOISE * noise, _LEAST_FALL * abs(_beginning(finite))):
        return RampRates(None, None, diverged)
    # A loss that falls after a peak, but to no new minimum, only makes up for the rise.
    new_low = level[: lowest + 1] <= np.minimum.accumulate(level[: lowest + 1])
    steepest = int(np.argmin(np.where(new_low, slope[: lowest + 1], np.inf)))
    risen = np.flatnonzero(level[lowest:] > level[lowest] + max(LOST * fall, noise))
    if len(risen):
        last = lowest + int(risen[0]) - 1
    elif end is not None:
        last = min(end, len(finite)) - 1
    else:
        return RampRates(float(rates[steepest]), None, None)
    return RampRates(float(rates[steepest]), float(rates[last]), diverged)


def smoothed(rates: Numbers, losses: Numbers) -> tuple[Numbers, Numbers]:
    """Return level and slope (per decade of the rate) of the smoothed loss at each step."""
    at = np.log10(rates)
    apart = at[None, :] - at[:, None]
    width = max(BANDWIDTH, 1.2 * float(at[-1] - at[0]) / max(1, len(at) - 1))
    weights = np.exp(-0.5 * (apart / width) ** 2)
    # Weighted least squares of a line at each step, in closed form.
    s0, s1, s2 = (np.sum(weights * apart**power, axis=1) for power in (0, 1, 2))
    t0, t1 = (np.sum(weights * apart**power * losses[None, :], axis=1) for power in (0, 1))
    determinant = np.maximum(s0 * s2 - s1**2, 1e-300)
    return (s2 * t0 - s1 * t1) / determinant, (s0 * t1 - s1 * t0) / determinant


@dataclass(frozen=True)
class MeanCurve:
    """Smoothed loss over the rate: the mean of the seeds at one batch size."""

    optimizer: str
    batch_size: int
    rates: tuple[float, ...]
    losses: tuple[float, ...]

    def loss_at(self, rate: float) -> float:
        """The loss at the first rate that is not below `rate`, or at the last."""
        index = bisect.bisect_left(self.rates, rate)
        return self.losses[min(index, len(self.losses) - 1)]


def mean_curves(ramps: Sequence[Ramp]) -> list[MeanCurve]:
    """Return a curve for each optimizer and batch size, up to the first divergence of a seed."""
    groups: dict[tuple[str, int], list[Ramp]] = {}
    for ramp in ramps:
        groups.setdefault((ramp.optimizer, ramp.batch_size), []).append(ramp)
    curves = []
    for (optimizer, size), several in groups.items():
        ends = [diverged_at(ramp.losses) for ramp in several]
        known = [_finite(ramp)[: None if end is None else end + 1]
                 for ramp, end in zip(several, ends, strict=True)]  # fmt: skip
        length = min(map(len, known))
        if length >= _LEAST_STEPS:
            rates = np.asarray(several[0].rates[:length])
            losses = np.mean([smoothed(rates, seed[:length])[0] for seed in known], axis=0)
            curves.append(MeanCurve(optimizer, size, tuple(rates.tolist()), tuple(losses.tolist())))
    return curves


def _finite(ramp: Ramp) -> Numbers:
    """Return the losses before the first that is not finite, capped far above the beginning.

    Without the cap, one huge loss would distort the regression at all steps within its bandwidth.
    """
    known = np.asarray(ramp.losses, dtype=np.float64)
    broken = np.flatnonzero(~np.isfinite(known))
    finite = known[: int(broken[0])] if len(broken) else known
    if len(finite) < _LEAST_STEPS:
        return finite
    begun = _beginning(finite)
    lowest = float(np.median(np.sort(finite)[: max(3, len(finite) // 20)]))
    return np.minimum(finite, begun + max(begun - lowest, 4 * _noise(finite[:_LEAST_STEPS])))


def _beginning(losses: Numbers) -> float:
    """Return the loss before the rate had an effect: the mean of the first tenth."""
    return float(np.mean(losses[: max(3, len(losses) // 10)]))


def _noise(losses: Numbers) -> float:
    """Return the standard deviation of the loss between batches, from successive differences.

    After Rice 1984, "Bandwidth Choice for Nonparametric Regression": a slow trend cancels out.
    """
    if len(losses) < 2:
        return 0.0
    return math.sqrt(float(np.mean(np.diff(losses) ** 2)) / 2)
