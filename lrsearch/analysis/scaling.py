"""How the best learning rate grows with the batch size."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lrsearch.analysis.rate_model import Array, Tries
from lrsearch.analysis.response import fit_curve, fit_exponent
from lrsearch.analysis.study_data import StudyData
from lrsearch.analysis.tries import gathered, tries_of

LEAST_BATCH_SIZES = 3
LEAST_TRIALS = 15
WIDEST = 1.0
"""The widest interval of an exponent that is shown: a wider one holds the usual rules 0 and 1."""
_SURE = 0.95
"""Share of bootstrap samples that must have their optimum inside the rates that were tried."""

Why = Literal["few", "flat", "edge", "wide"]


@dataclass(frozen=True)
class Fit:
    """lr = optimum * (batch / batch_size) ** exponent, the best learning rate of one optimizer."""

    optimizer: str
    exponent: float
    low: float
    high: float
    """95 % interval of the exponent over trials."""
    batch_size: int
    """The batch size of `optimum`: the one tried most often."""
    optimum: float
    optimum_low: float
    optimum_high: float
    """The best learning rate at `batch_size` with its 95 % interval over trials."""
    sizes: tuple[int, ...]
    trials: int

    def rate(self, batch_size: float) -> float:
        """Return the fitted learning rate."""
        return float(self.optimum * (batch_size / self.batch_size) ** self.exponent)

    def band(self, batch_size: float) -> tuple[float, float]:
        """Return the 95 % interval of the fitted learning rate over trials.

        The errors of the exponent and of the optimum at a middle batch size are nearly independent,
        so their squares add.
        """
        rate, far = self.rate(batch_size), math.log(batch_size / self.batch_size)
        ends = sorted(((self.low - self.exponent) * far, (self.high - self.exponent) * far))
        below = math.hypot(math.log(self.optimum / self.optimum_low), ends[0])
        above = math.hypot(math.log(self.optimum_high / self.optimum), ends[1])
        return rate * math.exp(-below), rate * math.exp(above)


@dataclass(frozen=True)
class Unknown:
    """An optimizer whose trials cannot tell the exponent."""

    optimizer: str
    why: Why
    """Too few trials, equal values, an optimum at an edge of the rates tried, or too wide an
    interval."""
    trials: int
    sizes: int


@dataclass(frozen=True)
class Scaling:
    """Fits of the best learning rate over the batch size."""

    fits: tuple[Fit, ...]
    unknown: tuple[Unknown, ...]
    batch_sizes: tuple[int, ...]
    """Batch sizes of all trials."""
    rule: str
    """How the space ties the learning rate to the batch size."""
    sampler: str | None = None
    """The sampler, where it chose trials by earlier ones."""

    def fit_of(self, optimizer: str) -> Fit | None:
        """Return the fit of an optimizer; None where its trials cannot tell."""
        return next((fit for fit in self.fits if fit.optimizer == optimizer), None)


def fit_scaling(study: StudyData, forecast: Mapping[int, float]) -> Scaling:
    """Fit the exponent for each optimizer; rates of different optimizers are not comparable.

    `forecast` are the values that pruned trials would have reached, by trial number.
    """
    fits, unknown = [], []
    by_optimizer = itertools.groupby(
        tries_of(study, forecast), key=lambda one: one.recipe.optimizer.name
    )
    for optimizer, tries in by_optimizer:
        fit = fit_one(optimizer, gathered(list(tries)))
        if isinstance(fit, Fit):
            fits.append(fit)
        else:
            unknown.append(fit)
    tried = {trial.recipe.batch_size for trial in study.trials if trial.recipe is not None}
    return Scaling(
        fits=tuple(fits),
        unknown=tuple(unknown),
        batch_sizes=tuple(sorted(tried)),
        rule=str((study.config.get("coupling") or {}).get("rule", "none")),
        sampler=study.adaptive_sampler,
    )


def fit_one(optimizer: str, tries: Tries) -> Fit | Unknown:
    """Fit the exponent to the trials of one optimizer, if they can tell it."""
    sizes = sorted({int(size) for size in tries.sizes})

    def unknown(why: Why) -> Unknown:
        return Unknown(optimizer, why, len(tries), len(sizes))

    if len(tries) < LEAST_TRIALS or len(sizes) < LEAST_BATCH_SIZES:
        return unknown("few")
    if not np.ptp(tries.losses):
        return unknown("flat")
    exponent = fit_exponent(tries)
    curve = None if exponent is None else fit_curve(tries, exponent.value, tolerance=0.0)
    if exponent is None or curve is None:
        return unknown("few")
    best = curve.optimum * (tries.sizes / curve.batch_size) ** exponent.value
    if curve.inside < _SURE or not _bracketed(tries, best):
        return unknown("edge")
    if not exponent.bounded or exponent.high - exponent.low > WIDEST:
        return unknown("wide")
    return Fit(
        optimizer=optimizer,
        exponent=exponent.value,
        low=exponent.low,
        high=exponent.high,
        batch_size=int(curve.batch_size),
        optimum=curve.optimum,
        optimum_low=curve.optimum_low,
        optimum_high=curve.optimum_high,
        sizes=tuple(sizes),
        trials=len(tries),
    )


def _bracketed(tries: Tries, best: Array) -> bool:
    """Whether the least and the largest batch size were tried on both sides of their best rate.

    Else the shape of the curve elsewhere decides where the best rates of these sizes are, and with
    them the exponent.
    """
    ends = (tries.sizes == size for size in (tries.sizes.min(), tries.sizes.max()))
    return all(bool(tries.rates[end].min() < best[end][0] < tries.rates[end].max()) for end in ends)
