"""The response of the loss to the learning rate: the exponent of the batch size, and the curve.

Both are read from the model of `analysis.rate_model`. The interval of the exponent inverts a test:
of each exponent the loss of fit is compared with its distribution over bootstrap samples of the
residuals. So it is as wide as it must be, up to all exponents, where the trials do not tell.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lrsearch.analysis.rate_model import Array, Model, Tries, best_exponent, misfits, settled

LEAST_EXPONENT, MOST_EXPONENT = -1.5, 2.5
"""Limits of the exponents that are tried."""
_COARSE = np.linspace(LEAST_EXPONENT, MOST_EXPONENT, 41)
_FINE = np.array(
    [0, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75, 2, 2.5, 3, 3.5, 4, 5, 6, 8, 11, 15, 20, 30, 40]
)
"""Distances from the estimate, in standard errors, at which exponents are tested."""
_LEVEL = 0.95
_TESTED_LEVEL = 0.97
"""Nominal level at which intervals of the exponent hold the truth in about 95 % of studies.

The weights are chosen by the same values, so 0.95 holds it less often
(benchmarks/statistics/exponent.py).
"""
_BENT = 0.05
"""Level of the test whether the best rates follow one power of the batch size."""
_LEAST_RATES = 3


@dataclass(frozen=True)
class Exponent:
    """The exponent of the best learning rate in the batch size."""

    value: float
    low: float
    high: float
    """95 % interval over trials."""

    @property
    def bounded(self) -> bool:
        """Whether both ends of the interval lie within the exponents that are tried."""
        return self.low > LEAST_EXPONENT and self.high < MOST_EXPONENT


@dataclass(frozen=True)
class Curve:
    """The fitted loss over the learning rate at one batch size, with its 95 % band over trials."""

    batch_size: float
    rates: tuple[float, ...]
    losses: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    optimum: float
    """Learning rate of the least fitted loss."""
    optimum_low: float
    optimum_high: float
    """95 % interval of the optimum over trials."""
    inside: float
    """Share of the bootstrap samples in which the optimum lies inside the rates that were tried."""
    basin: Basin


@dataclass(frozen=True)
class Basin:
    """The learning rates at which the fitted loss is within a tolerance of its least."""

    low: float
    high: float
    open_low: bool
    open_high: bool
    """Whether it reaches the least or largest rate that was tried."""
    width_low: float
    width_high: float
    """95 % interval of high / low over trials."""

    @property
    def width(self) -> float:
        """The largest rate over the least."""
        return self.high / self.low


def fit_exponent(tries: Tries) -> Exponent | None:
    """Fit the exponent; None where the trials are fewer than the model's terms, or all equal."""
    model = settled(Model.of(tries), _COARSE)
    if model is None:
        return None
    value = _refined(model)
    fit = model.at(value)
    freedom = max(1.0, len(model) - 1 - float(fit.leverage.sum()))
    least = float(fit.misfit(model.weighted))
    if least == 0:
        return None
    bent = _bent(model, value)
    if bent is not None:
        return bent
    error = _standard_error(model, value, least / freedom)
    grid = np.unique(
        np.clip(
            np.concatenate([value - error * _FINE, value + error * _FINE]),
            LEAST_EXPONENT,
            MOST_EXPONENT,
        )
    )
    samples = fit.resampled(model.weighted)
    fits = [model.at(exponent) for exponent in grid]
    misfits = np.array([float(one.misfit(model.weighted)) for one in fits])
    tested = (misfits - misfits.min()) * freedom / misfits.min()
    squares = np.sum(samples**2, 0)
    again = np.stack([one.misfit(samples, whole=squares) for one in fits])
    at_value = again[np.abs(grid - value).argmin()]
    # How much worse the true exponent fits than the best, in samples where `value` is true.
    worse = (at_value - again.min(0)) * freedom / again.min(0)
    limit = float(np.quantile(worse, _TESTED_LEVEL))
    fine = np.union1d(np.linspace(grid[0], grid[-1], 2001), grid)
    inside = fine[(np.interp(fine, grid, tested) <= limit) | (np.abs(fine - value) < 1e-9)]
    low, high = (inside[0], inside[-1]) if len(inside) else (value, value)
    return Exponent(value, min(float(low), value), max(float(high), value))


def _bent(model: Model, value: float) -> Exponent | None:
    """Return the exponent by the optima of the batch sizes, if they do not follow one power.

    One step of Gauss and Newton shifts the curve at each batch size on its own. Where these shifts
    deviate from a line by more than the noise (F test), the exponent is the slope of the line
    through them, and its interval that of the regression (Student's t): the deviations from the
    law are its error then, not the noise. None where they follow the line.
    """
    sizes = np.unique(model.s)
    lines = np.stack([np.ones(len(sizes)), sizes], 1)
    if (spare := len(sizes) - 2) < 1:
        return None
    shifts, covariance, freedom = model.at(value).shifts(sizes)
    from scipy.special import fdtrc, stdtrit

    across = np.linalg.qr(lines, mode="complete")[0][:, 2:]
    deviations = across.T @ shifts
    ratio = deviations @ np.linalg.pinv(across.T @ covariance @ across) @ deviations / spare
    if fdtrc(spare, freedom, ratio) >= _BENT:
        return None
    slope = float(np.polyfit(sizes, shifts, 1)[0])
    spread = math.sqrt(float(deviations @ deviations) / spare / float(np.var(sizes) * len(sizes)))
    reach = spread * float(stdtrit(spare, (1 + _LEVEL) / 2))
    return Exponent(value + slope, value + slope - reach, value + slope + reach)


def fit_curve(tries: Tries, exponent: float, tolerance: float) -> Curve | None:
    """Fit the curve for a known exponent; None where the trials are fewer than its terms.

    The basin is where the loss is within `tolerance`, relative, of the least.
    """
    model = settled(Model.of(tries), np.array([exponent]))
    if model is None or len(np.unique(model.x)) < _LEAST_RATES:
        return None
    fit = model.at(exponent)
    freedom = max(1.0, len(model) - float(fit.leverage.sum()))
    from scipy.special import stdtrit

    # Few trials estimate their own noise badly: as Student's t is wider than the normal.
    wider = float(stdtrit(freedom, (1 + _LEVEL) / 2) / stdtrit(1e9, (1 + _LEVEL) / 2))
    places, curve = fit.curve(model.weighted)
    curve = model.losses(curve)
    curves = model.losses(fit.curve(fit.resampled(model.weighted, wider))[1])
    tails = [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2]
    low, high = np.quantile(curves, tails, axis=1)
    lowest = curves.argmin(0)
    best_low, best_high = np.quantile(_minima(places, curves), tails)
    best = float(_minima(places, curve[:, None])[0])
    start, end = _within(curve, tolerance)
    ends = np.array([_within(each, tolerance) for each in curves.T])
    widths = places[ends[:, 1]] - places[ends[:, 0]]
    width_low, width_high = np.quantile(widths, tails)
    rates = np.exp(places)
    return Curve(
        batch_size=tries.reference,
        rates=tuple(rates.tolist()),
        losses=tuple(curve.tolist()),
        low=tuple(low.tolist()),
        high=tuple(high.tolist()),
        optimum=math.exp(best),
        optimum_low=math.exp(min(best_low, best)),
        optimum_high=math.exp(max(best_high, best)),
        inside=float(np.mean((lowest > 0) & (lowest < len(places) - 1))),
        basin=Basin(
            low=float(rates[start]),
            high=float(rates[end]),
            open_low=start == 0,
            open_high=end == len(places) - 1,
            width_low=math.exp(width_low),
            width_high=math.exp(width_high),
        ),
    )


def _minima(places: Array, curves: Array) -> Array:
    """Return where each column is least, between its places by a parabola."""
    lowest = curves.argmin(0)
    middle = np.clip(lowest, 1, len(places) - 2)
    column = np.arange(curves.shape[1])
    before, at, after = (curves[middle + step, column] for step in (-1, 0, 1))
    bend = before - 2 * at + after
    offset = np.where(bend > 0, (before - after) / np.where(bend > 0, 2 * bend, 1.0), 0.0)
    inside = lowest == middle
    minima: Array = places[lowest] + np.where(inside, offset, 0.0) * (places[1] - places[0])
    return minima


def _within(curve: Array, tolerance: float) -> tuple[int, int]:
    """Return the first and the last place around the minimum with a loss within the tolerance."""
    best = int(curve.argmin())
    above = np.flatnonzero(curve > curve[best] + tolerance * abs(curve[best]))
    before, after = above[above < best], above[above > best]
    return (
        int(before[-1]) + 1 if len(before) else 0,
        int(after[0]) - 1 if len(after) else len(curve) - 1,
    )


def _refined(model: Model) -> float:
    """Return the exponent of the best fit, by ever finer grids."""
    grid = _COARSE
    for _ in range(5):
        place = int(misfits(model, grid).argmin())
        grid = np.linspace(grid[max(place - 1, 0)], grid[min(place + 1, len(grid) - 1)], 9)
    return best_exponent(model, grid)


def _standard_error(model: Model, value: float, variance: float) -> float:
    """Return the error of an exponent, by how fast the misfit grows on both sides of it."""
    least = float(model.at(value).misfit(model.weighted))
    errors = []
    for side in (-1.0, 1.0):
        step = 0.01
        for _ in range(30):
            exponent = value + side * step
            if not LEAST_EXPONENT <= exponent <= MOST_EXPONENT:
                break
            growth = (float(model.at(exponent).misfit(model.weighted)) - least) / variance
            if 0.5 <= growth <= 4:
                errors.append(step / math.sqrt(growth))
                break
            step *= 2 if growth < 0.5 else 0.3
    return float(np.mean(errors)) if errors else 0.5
