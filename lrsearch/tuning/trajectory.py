"""LR trajectory: the learning rates of a training and its length, known before it begins."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Literal

from lrsearch.errors import LrsearchError
from lrsearch.evaluation import Evaluation
from lrsearch.parameters.durations import Duration, Length
from lrsearch.recipe import Recipe

_STEPS = 1000
"""Steps of the rough preview of a schedule: more cost time and change little."""
_ROUNDING = 1e-6
"""Added to shares of a training, so that rounding errors leave no evaluation before its moment."""


@dataclass(frozen=True)
class Rates:
    """The schedule at one evaluation, as learning rates."""

    now: float
    """Learning rate at this evaluation."""
    left: float
    """Area under the rest of the schedule, divided by the length of the whole training."""
    peak: float
    """Peak learning rate of the recipe."""
    batch_size: int
    optimizer: str
    """Name of the optimizer: rates of different optimizers are not comparable."""

    @property
    def share_left(self) -> float:
        """`left` as a share of a whole training at the peak rate."""
        return self.left / self.peak

    @property
    def peak_per_sample(self) -> float:
        """Peak rate over batch size, which makes rates comparable across batch sizes.

        The noise of SGD depends on this ratio (Smith, Le 2018, arXiv 1710.06451).
        """
        return self.peak / self.batch_size


@dataclass(frozen=True)
class LrTrajectory:
    """The length of a training, and its learning rates at moments that are evenly spaced."""

    whole: float
    """Length of the whole training, in `unit`."""
    optimizer: str
    peak: float
    batch_size: int
    warmup: float = 0.0
    """End of the warm-up, as a share of the whole training."""
    now: Sequence[float] = ()
    """Learning rate at each moment, the end the last one; empty where it is not known."""
    left: Sequence[float] = ()
    """`Rates.left` at each moment."""
    unit: Literal["index", "epoch", "step"] = "index"
    """What counts as progress: the number, the epoch or the step of an evaluation."""

    @classmethod
    def of(cls, recipe: Recipe, length: Length, repeats: int = 1) -> LrTrajectory:
        """Return the trajectory of a recipe, with the rates at each evaluation of `length`.

        `repeats` is the number of equal trainings that follow one another, of the folds of
        cross-validation. Progress is counted in evaluations. Without rates where a scheduler
        depends on losses (plateau), the recipe cannot be trained, or it counts in what `length`
        does not know.
        """
        whole = repeats * length.evaluations
        trajectory = cls(whole, recipe.optimizer.name, recipe.lr, recipe.batch_size)
        try:
            warmup = length.warmup_steps(Duration.parse(recipe.warmup)) / length.steps
            trajectory = dataclasses.replace(trajectory, warmup=warmup / repeats)
            rough = recipe.rough(length, _STEPS)
            if rough is None:
                return trajectory
            preview = recipe.preview(rough)
        except (ArithmeticError, ValueError, LrsearchError):
            return trajectory  # the training itself reports the error
        if preview.assumed_losses is not None:
            return trajectory
        at = [
            min(round(count * length.steps_per_evaluation / rough.stride), rough.steps)
            for count in range(1, length.evaluations + 1)
        ]
        rates, count = list(preview.rates), len(preview.rates)
        shifted = [repeat * count + k for repeat in range(repeats) for k in at]
        return trajectory.with_rates(rates * repeats, shifted)

    def with_rates(self, rates: Sequence[float], at: Sequence[int]) -> LrTrajectory:
        """Return a copy with rates.

        `rates` are evenly spaced from the start to the end of the training; `at` holds the index
        into them of each evaluation.
        """
        pieces = [(before + after) / 2 for before, after in pairwise(rates)]
        remaining = [*accumulate(reversed(pieces), initial=0.0)][::-1]
        now = [rates[k] for k in at]
        return dataclasses.replace(self, now=now, left=[remaining[k] / len(pieces) for k in at])

    def progress(self, evaluation: Evaluation) -> float:
        """Return the share of the training done at an evaluation; 1 at the last one."""
        done: float = getattr(evaluation, self.unit)
        share = done / self.whole
        return share if share < 1 - _ROUNDING else 1.0

    def rates(self, progress: float) -> Rates | None:
        """Return the rates at a share of the training; None where they are not known."""
        at = round(progress * len(self.now))
        if at < 1:
            return None
        now, left = self.now[at - 1], self.left[at - 1]
        return Rates(now, left, self.peak, self.batch_size, self.optimizer)


def moment_of(progress: float, moments: int) -> int:
    """Return how many of `moments` equal parts of a training are done."""
    return math.floor(progress * moments + _ROUNDING)
