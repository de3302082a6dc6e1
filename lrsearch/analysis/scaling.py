"""How the best learning rate grows with the batch size."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lrsearch.analysis.study_data import StudyData
from lrsearch.text.formatting import number

LEAST_BATCH_SIZES = 3
LEAST_TRIALS = 5
_GOOD_SHARE = 1 / 3
_LEAST_GOOD = 3
_RESAMPLES = 1000
_SEED = 0

Group = tuple[int, NDArray[np.float64], NDArray[np.float64]]
"""A batch size, the logarithms of its learning rates, and their losses (less is better)."""


@dataclass(frozen=True)
class Fit:
    """lr = scale * batch ** exponent, for the best learning rates of one optimizer."""

    optimizer: str
    exponent: float
    low: float
    high: float
    """95 % interval of the exponent, by resampling the trials of each batch size."""
    scale: float
    points: tuple[tuple[int, float, int], ...]
    """Batch size, learning rate of its good trials (geometric mean), complete trials."""

    def rate(self, batch_size: float) -> float:
        """The fitted learning rate."""
        return float(self.scale * batch_size**self.exponent)

    def sentences(self) -> list[str]:
        """Return the finding in plain sentences."""
        double, least, most = (2.0**power for power in (self.exponent, self.low, self.high))
        sizes = ", ".join(str(size) for size, _, _ in self.points)
        lines = [
            f"{self.optimizer}: the best learning rate grows as the batch size to the power "
            f"{self.exponent:.2f} (95 % interval {self.low:.2f} to {self.high:.2f}; batch sizes "
            f"{sizes}). Doubling the batch size wants {number(double, 2)} times the learning "
            f"rate ({number(least, 2)} to {number(most, 2)})."
        ]
        rules = {"no change at all (0)": 0.0, "the square-root rule (0.5)": 0.5,
                 "the linear rule (1)": 1.0}  # fmt: skip
        inside = [name for name, power in rules.items() if self.low <= power <= self.high]
        if len(inside) == len(rules):
            lines.append("That interval is too wide to choose a rule by.")
        elif inside:
            lines.append(f"It agrees with {' and with '.join(inside)}.")
        else:
            lines.append("Neither of the usual rules (0, 0.5, 1) lies inside the interval.")
        return lines


@dataclass(frozen=True)
class Scaling:
    """Fits of the best learning rate over the batch size."""

    fits: tuple[Fit, ...]
    too_few: tuple[str, ...]
    """Optimizers without enough trials at enough batch sizes."""
    batch_sizes: tuple[int, ...]
    """Batch sizes of all trials."""
    rule: str
    """How the space ties the learning rate to the batch size."""

    def sentences(self) -> list[str]:
        """Return the finding in plain sentences."""
        if len(self.batch_sizes) == 1:
            return [
                f"Every trial had the batch size {self.batch_sizes[0]}: how the learning rate "
                f"depends on it is not known."
            ]
        lines = [line for fit in self.fits for line in fit.sentences()]
        lines += [
            f"{name}: too few trials to fit an exponent; it takes {LEAST_TRIALS} complete trials "
            f"at each of {LEAST_BATCH_SIZES} batch sizes."
            for name in self.too_few
        ]
        if self.fits and self.rule != "none":
            lines.append(
                f"The space ties the learning rate to the batch size (coupling.rule={self.rule}), "
                f"so the exponent leans towards that rule."
            )
        return lines or ["No trial has run to its end, so there is nothing to fit."]


def fit_scaling(study: StudyData) -> Scaling:
    """Fit the exponent for each optimizer; rates of different optimizers are not comparable."""
    tried = [trial.recipe for trial in study.trials if trial.recipe is not None]
    found: dict[str, dict[int, list[tuple[float, float]]]] = defaultdict(lambda: defaultdict(list))
    sign = 1.0 if study.metric.mode == "min" else -1.0
    for trial in study.ranked:
        if trial.recipe is not None and trial.value is not None:
            point = (math.log(trial.recipe.lr), sign * trial.value)
            found[trial.recipe.optimizer.name][trial.recipe.batch_size].append(point)
    fits, too_few = [], []
    for optimizer, by_size in sorted(found.items()):
        groups: list[Group] = [
            (size, np.array([rate for rate, _ in points]), np.array([loss for _, loss in points]))
            for size, points in sorted(by_size.items())
            if len(points) >= LEAST_TRIALS and len({rate for rate, _ in points}) >= _LEAST_GOOD
        ]
        if len(groups) >= LEAST_BATCH_SIZES:
            fits.append(_fit(optimizer, groups))
        else:
            too_few.append(optimizer)
    return Scaling(
        fits=tuple(fits),
        too_few=tuple(too_few),
        batch_sizes=tuple(sorted({recipe.batch_size for recipe in tried})),
        rule=str((study.config.get("coupling") or {}).get("rule", "none")),
    )


def _fit(optimizer: str, groups: list[Group]) -> Fit:
    sizes = np.log([size for size, _, _ in groups])
    centres = np.array([_good_rate(rates, losses) for _, rates, losses in groups])
    exponent, offset = np.polyfit(sizes, centres, 1)
    rng = np.random.default_rng(_SEED)
    slopes = []
    for _ in range(_RESAMPLES):
        again = []
        for _, rates, losses in groups:
            chosen = rng.integers(0, len(rates), len(rates))
            again.append(_good_rate(rates[chosen], losses[chosen]))
        slopes.append(np.polyfit(sizes, again, 1)[0])
    low, high = np.quantile(slopes, [0.025, 0.975])
    return Fit(
        optimizer=optimizer,
        exponent=float(exponent),
        low=float(low),
        high=float(high),
        scale=math.exp(offset),
        points=tuple(
            (size, math.exp(centre), len(rates))
            for (size, rates, _), centre in zip(groups, centres, strict=True)
        ),
    )


def _good_rate(rates: NDArray[np.float64], losses: NDArray[np.float64]) -> float:
    """Mean logarithm of the rates of the best third: steadier than that of the single best."""
    count = max(_LEAST_GOOD, round(len(rates) * _GOOD_SHARE))
    return float(np.mean(rates[np.argsort(losses, kind="stable")[:count]]))
