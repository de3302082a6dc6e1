"""The rates of a whole training, known before it begins."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from lrsearch.errors import LrsearchError
from lrsearch.recipe import Recipe
from lrsearch.schedules.durations import Duration, Length

_STEPS = 1000
"""Enough to know the rates by; more only cost time."""
_MOST_STEPS = 200_000
"""Of a scheduler whose rates are known by taking each step alone: some seconds."""


@dataclass(frozen=True)
class Rates:
    """What the schedule does at a moment, in units of the rate."""

    now: float
    left: float
    """The mean rate of the whole training, counting only what is still to come."""
    peak: float
    batch_size: int
    optimizer: str
    """Rates are compared within one optimizer only."""

    @property
    def share_left(self) -> float:
        """What is still to come as a share of a whole training at the peak."""
        return self.left / self.peak

    @property
    def peak_per_sample(self) -> float:
        """The peak for one sample of a batch: rates are compared so across batch sizes.

        What a rate does to a training depends on this (Smith, Le 2018, arXiv 1710.06451).
        """
        return self.peak / self.batch_size


@dataclass(frozen=True)
class Course:
    """What a training will go through, at each of its evaluations."""

    evaluations: int
    optimizer: str
    peak: float
    batch_size: int
    warmup: float = 0.0
    """Its end, as a share of the whole training."""
    now: Sequence[float] = ()
    """The rate at the end of each evaluation; empty where nobody knows beforehand."""
    left: Sequence[float] = ()
    """What is then still to come, as in `Rates`."""

    @classmethod
    def of(cls, recipe: Recipe, length: Length) -> Course:
        """The course of lrsearch's own training. A plateau's rates are not known beforehand."""
        warmup = length.warmup_steps(Duration.parse(recipe.warmup)) / length.steps
        course = cls(
            length.evaluations, recipe.optimizer.name, recipe.lr, recipe.batch_size, warmup
        )
        try:
            rough = recipe.rough(length, _STEPS)
            if rough.steps > _MOST_STEPS:
                return course
            preview = recipe.preview(rough)
        except (ArithmeticError, ValueError, LrsearchError):
            return course  # the training itself will say what is wrong
        if preview.assumed_losses is not None:
            return course
        at = [
            min(round(count * length.steps_per_evaluation / rough.stride), rough.steps)
            for count in range(1, length.evaluations + 1)
        ]
        return course.with_rates(preview.rates, at)

    def with_rates(self, rates: Sequence[float], at: Sequence[int]) -> Course:
        """The same with its rates, evenly spaced from start to end; `at` are the evaluations."""
        pieces = [(before + after) / 2 for before, after in pairwise(rates)]
        to_come = [*accumulate(reversed(pieces), initial=0.0)][::-1]
        now = [rates[k] for k in at]
        return dataclasses.replace(self, now=now, left=[to_come[k] / len(pieces) for k in at])

    def progress(self, evaluation: int) -> float:
        """The share of the training that is over at an evaluation, counted from 1."""
        return min(1.0, evaluation / self.evaluations)

    def rates(self, evaluation: int) -> Rates | None:
        """What the schedule does at an evaluation; None where nobody knows."""
        if not 0 < evaluation <= len(self.now):
            return None
        now, left = self.now[evaluation - 1], self.left[evaluation - 1]
        return Rates(now, left, self.peak, self.batch_size, self.optimizer)
