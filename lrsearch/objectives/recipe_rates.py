"""The learning rates of a recipe step by step, and when a rate counts as another one."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence

import torch

from lrsearch.parameters.durations import Length
from lrsearch.recipe import Recipe
from lrsearch.schedules.plan import TorchCall

EXACT = (1e-3, 1e-6)
"""Largest difference of rates that counts as none: a share of the rate, and one of the peak.

Rates in float32 tensors, from which torch's schedulers compute the next ones, add up such errors.
"""
SLACK = 0.02
"""Share of a training by which its end may miss that of the schedule."""


class RecipeRates:
    """The rates of a recipe's first parameter group at each step, computed as far as needed."""

    def __init__(self, recipe: Recipe, length: Length) -> None:
        self._next = _rates(recipe, length)
        self._known = array("d")
        self._steps = length.steps

    def at(self, step: int) -> tuple[float, float, float]:
        """The rate at a step, with the smallest and largest of it and its neighbours'."""
        step = min(max(step, 0), self._steps)
        self._compute(step + 2)
        around = self._known[max(0, step - 1) : step + 2]
        return self._known[step], min(around), max(around)

    def all(self) -> array[float]:
        """The rates at all steps."""
        self._compute(self._steps + 1)
        return self._known

    def _compute(self, count: int) -> None:
        while len(self._known) < count and (rate := next(self._next, None)) is not None:
            self._known.append(rate)


def _rates(recipe: Recipe, length: Length) -> Iterator[float]:
    """The rates at steps 0 to `length.steps`; a plateau schedule is given no evaluations."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], recipe.lr, momentum=0.9)
    schedule = recipe.build_schedule(optimizer, length)
    yield schedule.rates[0]
    for _ in range(length.steps):
        optimizer.step()
        schedule.step()
        yield schedule.rates[0]


def plateau_level(held: float, peak: float, call: TorchCall) -> float:
    """The rate that a plateau schedule can have that is nearest to the one held."""
    factor, least = float(call.arguments["factor"]), float(call.arguments.get("min_lr", 0.0))
    levels, rate = [peak], peak
    while rate > max(least, held / 2, peak * 1e-12) and 0 < factor < 1:
        rate = max(rate * factor, least)
        levels.append(rate)
    return min(levels, key=lambda level: abs(level - held))


def differs(
    held: float,
    expected: Sequence[float],
    peak: float,
    tolerances: tuple[float, float] = EXACT,
) -> bool:
    """Whether a rate lies outside of those expected, the smallest and the largest."""
    low, high = expected
    relative, of_peak = tolerances
    tolerance = relative * max(abs(low), abs(high)) + of_peak * peak
    return not low - tolerance <= held <= high + tolerance
