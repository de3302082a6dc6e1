"""The model of the loss over the learning rate: a smooth curve that moves with the batch size.

One model for all trials of an optimizer: the loss is a level, which may depend on the batch size
and on a group such as the scheduler, plus a curve over the logarithm of the learning rate, the same
for all batch sizes but for a shift that is linear in the logarithm of the batch size. The slope of
that shift is the exponent of the rule "best rate = scale * batch ** exponent".

The curve is a quadratic with a penalised spline for its asymmetry (truncated quadratics with a
ridge penalty whose strength is chosen by restricted maximum likelihood: Ruppert, Wand and Carroll
2003, "Semiparametric Regression", chapters 3 and 4), so basins that are steeper on one side do not
bias it. Losses of diverged trainings are left out, trials far above the curve's minimum count
less, and so do outliers (Huber's weights). Bootstraps have a fixed seed: results never change.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_RESAMPLES = 400
_SEED = 0
_KNOTS = 5
_PENALTIES = 10.0 ** np.arange(-2, 3.1, 0.5)
"""Penalties of the spline that are tried: weaker ones bend the curve after the noise, whose slopes
then promise more about the exponent than there is."""
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
class Model:
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
    def of(cls, tries: Tries) -> Model:
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

    def at(self, exponent: float) -> ModelFit:
        """Return the fit for an exponent.

        Rates are scaled alike for all exponents: else the penalty would favour exponents that
        leave the shifted rates close together.
        """
        u = self.x - exponent * self.s
        middle, half = (u.min() + u.max()) / 2, float(np.ptp(self.x)) / 2 or 1.0
        t = (u - middle) / half
        shares = np.arange(1, self.knots + 1) / (self.knots + 1)
        knots = np.quantile(t, shares) if self.knots else np.empty(0)
        return ModelFit(self, t, knots, float(middle), float(half))


@dataclass(frozen=True)
class ModelFit:
    """The penalised least-squares fit of a model for one exponent, linear in the losses."""

    model: Model
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


def settled(model: Model, exponents: Array) -> Model | None:
    """Return the model with its weights and penalty, found together with the exponent.

    A trial counts less the higher the curve is at its rate, and the farther it is from the curve.
    None where the trials are too few.
    """
    freedom = len(model) - model.terms - (len(exponents) > 1)
    if freedom < _LEAST_FREEDOM:
        return None
    near = np.ones(len(model))
    for turn in range(_ROUNDS):
        exponent = best_exponent(model, exponents)
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


def misfits(model: Model, exponents: Array) -> Array:
    """Return the penalised sum of squares of the fit for each exponent."""
    return np.array([float(model.at(exponent).misfit(model.weighted)) for exponent in exponents])


def best_exponent(model: Model, exponents: Array) -> float:
    """Return the exponent, of these, that fits best."""
    if len(exponents) == 1:
        return float(exponents[0])
    return float(exponents[misfits(model, exponents).argmin()])


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
