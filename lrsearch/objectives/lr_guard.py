"""The guard of a trial's learning rates: what the optimizer holds against what the recipe says.

A training loop of the user's own may never step the schedule, step it twice, build it for another
length, or leave it to a framework that sets the rates itself. It then trains another recipe than
the trial's, and nothing else shows that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from lrsearch.errors import LrsearchError
from lrsearch.objectives.built_schedule import BuiltSchedule
from lrsearch.objectives.recipe_rates import EXACT, SLACK, RecipeRates, differs, plateau_level
from lrsearch.parameters.durations import Length
from lrsearch.recipe import Recipe
from lrsearch.schedules.schedule import Schedule
from lrsearch.text.formatting import number, percent

_ROUGH, _ROUGH_SLACK, _ROUGH_STEPS = (0.1, 0.05), 0.05, 1000
"""Tolerances, a share of the training, and steps, where the length of the training is not known."""
_TOTALS = (_ROUGH_STEPS, 250, 100, 64, 40, 25, 16, 10)
"""Numbers of steps that are tried where that of a training is not known."""
_STEPS = re.compile(r"\d\s*st\b")


class LrGuard:
    """Compares the learning rates of a training loop of the user's own with its recipe.

    One difference is told, the first: others may be its consequences.
    """

    def __init__(self, recipe: Recipe, epochs: float | None = None) -> None:
        """Guard the training of a recipe, which has `epochs` epochs where that is known."""
        self._recipe, self._epochs = recipe, epochs
        self._built: BuiltSchedule | None = None
        self._told = False
        self._evaluated_late = 0
        """Number of reports after the warm-up, the latest left out."""
        self.verified = False
        """Whether the rates were compared at the last report, and were the recipe's."""

    def built(self, schedule: Schedule, length: Length) -> None:
        """Take note of a schedule that was built from the recipe; the last one counts."""
        self._built = BuiltSchedule(self._recipe, schedule, length)
        self._evaluated_late = 0

    @property
    def steps(self) -> int:
        """Number of steps of the schedule so far; 0 where the recipe has built none."""
        return 0 if self._built is None else self._built.schedule.last_epoch

    def rates(self, optimizer: torch.optim.Optimizer | None = None) -> tuple[float, ...] | None:
        """The rates that the optimizer holds now; None where no optimizer is known."""
        if optimizer is None and self._built is not None:
            optimizer = self._built.schedule.optimizer
        if optimizer is None:
            return None
        return tuple(float(group["lr"]) for group in optimizer.param_groups)

    def groups(self, count: int) -> tuple[str, ...]:
        """The names of `count` parameter groups."""
        optimizer = None if self._built is None else self._built.schedule.optimizer
        groups = [] if optimizer is None else optimizer.param_groups
        if len(groups) != count:
            groups = [{} for _ in range(count)]
        names = [str(group.get("name", f"group{at}")) for at, group in enumerate(groups)]
        return ("default", *names[1:])

    def check(
        self,
        progress: float,
        step: int | None,
        reported: Sequence[float] | None,
        optimizer: torch.optim.Optimizer | None,
    ) -> str | None:
        """Compare the rates at a report with the recipe's; return a warning that is new, or None.

        `progress` is the share of the training that is done, `step` the number of optimizer steps,
        if that was reported. `reported` are the rates that the loop reports. Those that `optimizer`
        holds, or else the optimizer of the schedule, are compared, too.
        """
        held = self.rates(optimizer)
        if self._built is None:
            rates = reported or held
            mismatch, is_known = _unbuilt(self._recipe, self._epochs, progress, step, rates)
        else:
            mismatch = self._mismatch(self._built, step, [reported, held])
            is_known = True
        self.verified = is_known and mismatch is None
        return self._new(mismatch)

    def ended(self, progress: float) -> str | None:
        """Check that the schedule has ended with the training; return a warning that is new.

        `progress` is the share of the training that its last report was of. A training that ended
        early by itself, its schedule with it, is none.
        """
        if self._built is None:
            return None
        return self._new(self._built.cut_off(progress) or self._built.overrun())

    def _new(self, mismatch: str | None) -> str | None:
        if mismatch is None or self._told:
            return None
        self._told = True
        return mismatch

    def _mismatch(
        self, built: BuiltSchedule, step: int | None, held: Sequence[Sequence[float] | None]
    ) -> str | None:
        late, self._evaluated_late = self._evaluated_late, self._evaluated_late + built.is_warm
        known = [rates for rates in held if rates]
        for rates in known:
            if mismatch := built.wrong_pace(rates, step):
                return mismatch
        if mismatch := built.overrun():
            return mismatch
        for rates in known:
            if mismatch := built.other_rates(rates):
                return mismatch
        return built.never_evaluated() if late else None


def _unbuilt(
    recipe: Recipe,
    epochs: float | None,
    progress: float,
    step: int | None,
    held: Sequence[float] | None,
) -> tuple[str | None, bool]:
    """Compare a rate with the recipe's where the training has built no schedule from it.

    The length in steps is known from `step` alone. Returns the difference, and whether anything
    could be compared.
    """
    if not held or not 0 < progress <= 1 or epochs is None:
        return None, False
    steps = round(step / progress) if step else None
    if steps is None and _counts_steps(recipe.to_dict()):
        return None, False
    expected: list[float] = []
    # What a schedule does at a share of the training it does at a whole step. Near such a step, or
    # near the end, the rate depends on the length: a difference must hold for all that it may be.
    for length in _lengths(steps, epochs):
        tolerances = EXACT if length.steps == steps else _ROUGH
        is_rough = steps is None and length.steps == _ROUGH_STEPS
        slack = SLACK if steps else _ROUGH_SLACK if is_rough else 0.0
        try:
            rates = _around(recipe, length, progress, held[0], slack)
        except (ArithmeticError, ValueError, LrsearchError):
            return None, False  # the recipe cannot be trained at all
        if rates is None:
            return None, False
        if not differs(held[0], (min(rates), max(rates)), recipe.lr, tolerances):
            return None, True
        expected.append(rates[0])
    warning = (
        f"the learning rate is {number(held[0])} at {percent(progress)} of the training, and the "
        f"recipe says {number(expected[0])}: the loop does not follow the recipe's schedule; build "
        f"it with trial.recipe.build, and step it after each optimizer step"
    )
    return warning, True


def _lengths(steps: int | None, epochs: float) -> Iterator[Length]:
    """The lengths that a training of so many steps may have, the quickest to compute first."""
    for total in _TOTALS if steps is None else (steps,):
        per_epoch = max(1, round(total / epochs))
        length = Length(total, per_epoch, per_epoch)
        if total > _ROUGH_STEPS:
            yield length.rough(_ROUGH_STEPS)
        yield length


def _around(
    recipe: Recipe, length: Length, progress: float, held: float, slack: float
) -> list[float] | None:
    """The recipe's rate at a share of a training of this length, then those around it.

    None where it is not known: a scheduler class of the user's own may depend on the optimizer.
    """
    call, warmup = recipe.call(length)
    if call.is_own:
        return None
    at = progress * length.steps
    if call.monitor is not None and at > warmup:
        return [plateau_level(held, recipe.lr, call)]
    rates = RecipeRates(recipe, length).all()
    around = length.steps * slack
    window = rates[max(0, int(at - around)) : int(at + around) + 2]
    return [rates[min(round(at), length.steps)], *window]


def _counts_steps(value: Any) -> bool:
    """Whether a recipe has durations in optimizer steps."""
    if isinstance(value, Mapping):
        return any(map(_counts_steps, value.values()))
    if isinstance(value, list | tuple):
        return any(map(_counts_steps, value))
    return isinstance(value, str) and _STEPS.search(value) is not None
