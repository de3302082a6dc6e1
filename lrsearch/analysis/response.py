"""The response of the loss to the learning rate: a smooth curve that moves with the batch size.

One model for all trials of an optimizer: the loss is a level, which may depend on the batch size
and on a group such as the scheduler, plus a curve over the logarithm of the learning rate, the same
for all batch sizes but for a shift that is linear in the logarithm of the batch size. The slope of
that shift is the exponent of the rule "best rate = scale * batch ** exponent".

The curve is a quadratic with a penalised spline for its asymmetry (truncated quadratics with a
ridge penalty whose strength is chosen by restricted maximum likelihood: Ruppert, Wand and Carroll
2003, "Semiparametric Regression", chapters 3 and 4), so basins that are steeper on one side do not
bias it. Losses of diverged trainings are left out, trials far above the curve's minimum count
less, and so do outliers (Huber's weights).

The interval of the exponent inverts a test: of each exponent the loss of fit is compared with its
distribution over bootstrap samples of the residuals. So it is as wide as it must be, up to all
exponents, where the trials do not tell. Bootstraps have a fixed seed: results never change.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

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
_RESAMPLES = 400
_SEED = 0
_KNOTS = 5
_PENALTIES = 10.0 ** np.arange(-2, 3.1, 0.5)
"""Penalties of the spline that are tried: weaker ones bend the curve after the noise, whose slopes
then promise more about the exponent than there is."""
_BENT = 0.05
"""Level of the test whether the best rates follow one power of the batch size."""
_FIRST_PENALTY = 1e3
_LEVEL_TERMS = 4
"""Terms of the polynomial in log batch size for the level, at least."""
_TRIALS_A_TERM = 10
"""Trials for each further term."""
_ROUNDS = 6
_NEIGHBOURHOOD = 0.55
"""Distance from the first estimate within which the exponent is sought while weights settle."""
_HUBER = 2.0
_DIVERGED = 10.0
"""Losses so many times farther from the best of their batch size than the median are left out."""
_LEAST_FREEDOM = 2
_LEAST_RATES = 3
_POINTS = 201
_DEPENDENT = 1e-11
"""Share of the largest eigenvalue below which columns count as linearly dependent."""


@dataclass(frozen=True)
class Tries:
    """What the curve is fitted to: one entry for each trial."""

    rates: Array
    """Peak learning rates."""
    sizes: Array
    """Batch sizes."""
    losses: Array
    """Values of the metric; smaller is better."""
    weights: Array
    """1, or less for a value that is known less well, such as a forecast."""
    groups: tuple[str, ...]
    """A name for each trial, such as the scheduler's; the groups differ in their level."""

    def __len__(self) -> int:
        return len(self.rates)

    @property
    def reference(self) -> float:
        """The batch size that was tried most often; of several the middle one."""
        sizes, counts = np.unique(self.sizes, return_counts=True)
        often = sizes[counts == counts.max()]
        return float(often[len(often) // 2])


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
    model = _settled(_Model.of(tries), _COARSE)
    if model is None:
        return None
    value = _refined(model)
    fit = model.at(value)
    freedom = max(1.0, len(model) - 1 - float(fit.leverage.sum()))
    least = float(fit.misfit(model.weighted))
    if least == 0:
        return None
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
    bent = _bent(model, value)
    if bent is not None:
        return bent
    inside = fine[(np.interp(fine, grid, tested) <= limit) | (np.abs(fine - value) < 1e-9)]
    low, high = (inside[0], inside[-1]) if len(inside) else (value, value)
    return Exponent(value, min(float(low), value), max(float(high), value))


def _bent(model: _Model, value: float) -> Exponent | None:
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
    model = _settled(_Model.of(tries), np.array([exponent]))
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


@dataclass(frozen=True)
class _Model:
    """The trials with their weights, ready to be fitted for any exponent."""

    x: Array
    """Logarithms of the learning rates."""
    s: Array
    """Logarithms of the batch sizes over the reference size."""
    y: Array
    """Losses above `base`, in units of `unit`."""
    base: float
    unit: float
    """The least loss and about the spread, so that no result depends on the losses' unit or zero.

    The unit is a power of two, which leaves the digits of the losses as they are.
    """
    level: Array
    """Columns of the level: powers of `s` and the groups."""
    known: Array
    """Weights of `Tries`."""
    weights: Array
    knots: int = 0
    penalty: float = _FIRST_PENALTY

    @classmethod
    def of(cls, tries: Tries) -> _Model:
        """Prepare trials, without diverged ones."""
        kept = _not_diverged(tries.sizes, tries.losses)
        sizes = tries.sizes[kept]
        s = np.log(sizes / tries.reference)
        span = float(np.abs(s).max()) or 1.0
        terms = min(len(np.unique(sizes)), max(_LEVEL_TERMS, len(sizes) // _TRIALS_A_TERM))
        powers = [(s / span) ** power for power in range(terms)]
        groups = _group_columns([tries.groups[k] for k in np.flatnonzero(kept)])
        weights = tries.weights[kept]
        losses = tries.losses[kept]
        base = float(losses.min()) if len(losses) else 0.0
        spread = float(np.ptp(losses)) if len(losses) else 0.0
        unit = math.ldexp(1.0, math.frexp(spread)[1]) if 0 < spread < math.inf else 1.0
        return cls(
            x=np.log(tries.rates[kept]),
            s=s,
            y=(losses - base) / unit,
            base=base,
            unit=unit,
            level=np.stack([*powers, *groups], 1),
            known=weights,
            weights=weights,
        )

    def __len__(self) -> int:
        return len(self.x)

    @property
    def terms(self) -> int:
        """Number of terms without the spline and the exponent: the level and a quadratic."""
        return int(self.level.shape[1]) + 2

    def losses(self, scaled: Array) -> Array:
        """Return losses in their own unit, of those in the unit of `y`."""
        return self.base + self.unit * scaled

    @property
    def weighted(self) -> Array:
        """`y` times the roots of the weights."""
        return self.y * np.sqrt(self.weights)

    def at(self, exponent: float) -> _Fit:
        """Return the fit for an exponent.

        Rates are scaled alike for all exponents: else the penalty would favour exponents that
        leave the shifted rates close together.
        """
        u = self.x - exponent * self.s
        middle, half = (u.min() + u.max()) / 2, float(np.ptp(self.x)) / 2 or 1.0
        t = (u - middle) / half
        shares = np.arange(1, self.knots + 1) / (self.knots + 1)
        knots = np.quantile(t, shares) if self.knots else np.empty(0)
        return _Fit(self, t, knots, float(middle), float(half))


@dataclass(frozen=True)
class _Fit:
    """The penalised least-squares fit of a model for one exponent, linear in the losses."""

    model: _Model
    t: Array
    """Shifted log rates, in half ranges of the rates that were tried, 0 in their middle."""
    knots: Array
    middle: float
    half: float

    @cached_property
    def _roots(self) -> Array:
        return np.sqrt(self.model.weights)[:, None]

    @cached_property
    def _columns(self) -> tuple[Array, Array]:
        """Columns without and with a penalty."""
        free = np.column_stack([self.model.level, self.t, self.t**2])
        return free, np.maximum(self.t[:, None] - self.knots, 0.0) ** 2

    @cached_property
    def _bases(self) -> tuple[Array, Array, Array]:
        """Orthonormal bases of the free and of the penalised columns, with singular values."""
        free, bent = self._columns
        base, _ = _orthonormal(free * self._roots)
        bent = bent * self._roots
        spline, singular = _orthonormal(bent - base @ (base.T @ bent))
        return base, spline, singular

    def _shrink(self, penalty: float) -> Array:
        singular = self._bases[2]
        shrink: Array = singular**2 / (singular**2 + penalty)
        return shrink

    def misfit(
        self, weighted: Array, penalty: float | None = None, whole: Array | None = None
    ) -> Array:
        """Return the penalised sum of squares, of each column of weighted losses.

        `whole` are their sums of squares, where they are known already.
        """
        base, spline, _ = self._bases
        shrink = self._shrink(self.model.penalty if penalty is None else penalty)
        explained = np.sum((base.T @ weighted) ** 2, 0) + shrink @ (spline.T @ weighted) ** 2
        if whole is None:
            whole = np.sum(weighted**2, 0)
        misfit: Array = np.maximum(whole - explained, 1e-12 * whole)
        return misfit

    def likeliest_penalty(self, weighted: Array) -> float:
        """Return the penalty of the largest restricted likelihood."""
        base, _, singular = self._bases
        freedom = base.shape[0] - base.shape[1]

        def deviance(penalty: float) -> float:
            misfit = max(float(self.misfit(weighted, penalty)), 1e-300)
            return float(freedom * math.log(misfit) + np.log1p(singular**2 / penalty).sum())

        return min(map(float, _PENALTIES), key=deviance)

    @cached_property
    def leverage(self) -> Array:
        """Diagonal of the smoother matrix."""
        base, spline, _ = self._bases
        shrink = self._shrink(self.model.penalty)
        diagonal: Array = np.sum(base**2, 1) + spline**2 @ shrink
        return np.clip(diagonal, 0.0, 0.95)

    def fitted(self, weighted: Array) -> Array:
        """Return the fitted weighted losses."""
        base, spline, _ = self._bases
        shrink = self._shrink(self.model.penalty)
        fitted: Array = base @ (base.T @ weighted) + spline @ (shrink * (spline.T @ weighted))
        return fitted

    def resampled(self, weighted: Array, wider: float = 1.0) -> Array:
        """Return bootstrap samples of the weighted losses as columns: residuals are drawn again.

        Residuals are divided by the root of one minus the leverage (Davison and Hinkley 1997,
        "Bootstrap Methods and their Application", 6.2), and multiplied by `wider`.
        """
        fitted = self.fitted(weighted)
        residuals = (weighted - fitted) / np.sqrt(1 - self.leverage)
        residuals = wider * (residuals - residuals.mean())
        chosen = np.random.default_rng(_SEED).integers(0, len(fitted), (len(fitted), _RESAMPLES))
        samples: Array = fitted[:, None] + residuals[chosen]
        return samples

    @cached_property
    def _solver(self) -> Array:
        """Matrix from weighted losses to coefficients."""
        free, bent = self._columns
        penalty = math.sqrt(self.model.penalty) * np.eye(bent.shape[1])
        below = np.hstack([np.zeros((bent.shape[1], free.shape[1])), penalty])
        whole = np.vstack([np.hstack([free, bent]) * self._roots, below])
        solver: Array = np.linalg.pinv(whole)[:, : len(free)]
        return solver

    def _shape(self, t: Array) -> Array:
        """Columns of the curve at scaled log rates: those of the level are zero, but the first."""
        level = np.zeros((len(t), self.model.level.shape[1]))
        level[:, 0] = 1.0
        bent = np.maximum(t[:, None] - self.knots, 0.0) ** 2
        return np.column_stack([level, t, t**2, bent])

    def curve(self, weighted: Array) -> tuple[Array, Array]:
        """Return log rates at the reference batch size, and the curve, of each column of losses."""
        t = self._grid
        return self.middle + self.half * t, self._shape(t) @ (self._solver @ weighted)

    @property
    def _grid(self) -> Array:
        return np.linspace(self.t.min(), self.t.max(), _POINTS)

    def shifts(self, sizes: Array) -> tuple[Array, Array, float]:
        """Return how far the optimum of each log size lies off, their covariance and its freedom.

        Only differences between them mean something: the curve itself may move, too.
        """
        weighted, (base, spline, singular) = self.model.weighted, self._bases
        places, curve = self.curve(weighted[:, None])
        rise = np.interp(self.t, self._grid, np.gradient(curve[:, 0], places))
        apart = -(rise[:, None] * (self.model.s[:, None] == sizes)) * self._roots
        columns = np.hstack([apart, base, spline])
        ridge = np.concatenate(
            [
                np.full(len(sizes), 1e-6 * float(np.mean(np.sum(apart**2, 0)))),
                np.zeros(base.shape[1]),
                self.model.penalty / singular**2,
            ]
        )
        inverse = np.linalg.pinv(columns.T @ columns + np.diag(ridge))
        solution = inverse @ (columns.T @ weighted)
        left = weighted - columns @ solution
        freedom = max(1.0, len(weighted) - float(np.sum((columns @ inverse) * columns)))
        kept = slice(len(sizes))
        return solution[kept], inverse[kept, kept] * float(left @ left) / freedom, freedom

    def height(self, weighted: Array) -> Array:
        """Return how far the curve is above its minimum at each trial."""
        solution = self._solver @ weighted
        lowest = float((self._shape(self._grid) @ solution).min())
        return np.maximum(self._shape(self.t) @ solution - lowest, 0.0)


def _settled(model: _Model, exponents: Array) -> _Model | None:
    """Return the model with its weights and penalty, found together with the exponent.

    A trial counts less the higher the curve is at its rate, and the farther it is from the curve.
    None where the trials are too few.
    """
    freedom = len(model) - model.terms - (len(exponents) > 1)
    if freedom < _LEAST_FREEDOM:
        return None
    near = np.ones(len(model))
    for turn in range(_ROUNDS):
        exponent = _best(model, exponents)
        if not turn:
            exponents = exponents[np.abs(exponents - exponent) <= _NEIGHBOURHOOD]
        fit = model.at(exponent)
        distance = np.abs(model.y - fit.fitted(model.weighted) / np.sqrt(model.weights))
        residuals = distance * np.sqrt(near * model.known)
        noise = 1.4826 * float(np.median(residuals)) * math.sqrt(len(model) / freedom) + 1e-12
        outlier = np.minimum(1.0, _HUBER * noise / np.maximum(residuals, 1e-15))
        height = fit.height(model.weighted)
        near = 1 / (1 + (height / max(float(np.median(height)), 2 * noise)) ** 2)
        model = replace(model, weights=model.known * outlier * near)
        if turn:  # The first weights, by the quadratic alone, are too rough to choose a penalty.
            model = replace(model, knots=_KNOTS)
            penalty = model.at(exponent).likeliest_penalty(model.weighted)
            model = replace(model, penalty=penalty)
    return model


def _orthonormal(columns: Array) -> tuple[Array, Array]:
    """Return the left singular vectors of linearly independent columns, and the singular values.

    By the eigenvalues of their products: there are few columns, and their scales are alike.
    """
    squares, turn = np.linalg.eigh(columns.T @ columns)
    kept = squares > _DEPENDENT * max(float(squares.max(initial=0.0)), 1e-300)
    singular = np.sqrt(squares[kept])
    return columns @ (turn[:, kept] / singular), singular


def _misfits(model: _Model, exponents: Array) -> Array:
    return np.array([float(model.at(exponent).misfit(model.weighted)) for exponent in exponents])


def _best(model: _Model, exponents: Array) -> float:
    if len(exponents) == 1:
        return float(exponents[0])
    return float(exponents[_misfits(model, exponents).argmin()])


def _refined(model: _Model) -> float:
    """Return the exponent of the best fit, by ever finer grids."""
    grid = _COARSE
    for _ in range(5):
        place = int(_misfits(model, grid).argmin())
        grid = np.linspace(grid[max(place - 1, 0)], grid[min(place + 1, len(grid) - 1)], 9)
    return _best(model, grid)


def _standard_error(model: _Model, value: float, variance: float) -> float:
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


def _not_diverged(sizes: Array, losses: Array) -> NDArray[np.bool_]:
    """Mark the losses that are not many times farther from the best than most."""
    best = {size: losses[sizes == size].min() for size in np.unique(sizes)}
    excess = losses - np.array([best[size] for size in sizes])
    above = excess[excess > 0]
    typical = float(np.median(above)) if len(above) else 0.0
    kept: NDArray[np.bool_] = np.isfinite(excess) & (excess <= _DIVERGED * typical)
    return kept


def _group_columns(groups: Sequence[str]) -> list[Array]:
    """Return a centred column for each group but the first, so that 0 is the mean of the trials."""
    columns = [np.array([group == name for group in groups], float) for name in sorted({*groups})]
    return [column - column.mean() for column in columns[1:]]
