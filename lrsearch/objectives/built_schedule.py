"""A schedule that a training of the user's own has built, as the guard of its rates sees it."""

from __future__ import annotations

from collections.abc import Sequence

from lrsearch.objectives.optimizer_steps import FEWEST, OptimizerSteps
from lrsearch.objectives.recipe_rates import SLACK, RecipeRates, differs, plateau_level
from lrsearch.parameters.durations import Length
from lrsearch.recipe import Recipe
from lrsearch.schedules.schedule import Schedule
from lrsearch.text.formatting import number, percent, plural

_BUILD = "build it with the number of optimizer steps of the whole training"


class BuiltSchedule:
    """A schedule that was built from a recipe, on an optimizer of the user's training.

    Its methods return what is wrong, in words with both rates, or None.
    """

    def __init__(self, recipe: Recipe, schedule: Schedule, length: Length) -> None:
        self.schedule = schedule
        self._recipe = recipe
        self._call = recipe.call(length)[0]
        self._expected = RecipeRates(recipe, length)
        self._steps = OptimizerSteps(schedule)
        first = schedule.base_lrs[0]
        self._factors = [float(rate) / float(first) if first else 1.0 for rate in schedule.base_lrs]

    @property
    def is_warm(self) -> bool:
        """Whether the warm-up is over."""
        return self.schedule.last_epoch >= self.schedule.warmup_steps

    def wrong_pace(self, held: Sequence[float], step: int | None) -> str | None:
        """A schedule that is not stepped once for each optimizer step, if the rates differ."""
        done, pace = self._steps.done, self._steps.pace()
        last = self.schedule.last_epoch
        if not self._steps.done and step is not None and step >= FEWEST:
            # Not torch's optimizer takes the steps, so that only their reported number is known.
            done, pace = step, None if 0.67 < last / step < 1.5 else last / step
        if pace is None:
            return None
        expected = self._recipes(self._steps.first + done, held[0])
        if self._differ(held, expected) is None:
            return None
        taken = plural(done, "optimizer step")
        times = last - self._steps.first
        words = "twice" if pace == 2 else f"{pace:g} times"
        words = (
            f"{words} for each of {taken}" if pace > 1 else f"{plural(times, 'time')} in {taken}"
        )
        return (
            f"{_held(held[0])}, and the recipe says {number(expected[0][0])}: the schedule was "
            f"stepped {words if times else f'not once in {taken}'}; call schedule.step() once "
            f"after each optimizer step"
        )

    def other_rates(self, held: Sequence[float]) -> str | None:
        """Rates that the schedule has not set."""
        expected = self._recipes(self.schedule.last_epoch, held[0])
        if (at := self._differ(held, expected)) is None:
            return None
        group = "" if at == 0 else f" in parameter group {at}"
        return (
            f"{_held(held[at])}{group} at step {self.schedule.last_epoch} of the schedule, and the "
            f"recipe says {number(expected[at][0])}: something else sets the rates, such as a "
            f"scheduler that the framework builds or another optimizer; the schedule of "
            f"trial.recipe.build must be the only one"
        )

    def never_evaluated(self) -> str | None:
        """A plateau schedule that no evaluation was given to."""
        schedule = self.schedule
        if schedule.monitor is None or schedule.state_dict()["main"]["last_epoch"] != 0:
            return None
        return (
            f"{_held(schedule.rates[0])}, and the recipe reduces it when {schedule.monitor} no "
            f"longer improves: the schedule was given no evaluation; call "
            f'schedule.evaluated({{"{schedule.monitor}": ...}}) after each'
        )

    def overrun(self) -> str | None:
        """A training that goes on beyond the end of its schedule."""
        total = self.schedule.total_steps
        taken = max(self.schedule.last_epoch, self._steps.first + self._steps.done)
        if taken <= total + max(1, SLACK * total) or self._is_constant():
            return None
        says = ""
        if (rate := self._own_rate(round(total * total / taken))) is not None:
            says = f", where the recipe says {number(rate)}"
        return (
            f"{_held(self.schedule.rates[0])} since step {total}, for which the schedule was "
            f"built, and the training is at step {taken}: the schedule ended after "
            f"{percent(total / taken)} of it{says}; {_BUILD}"
        )

    def cut_off(self, progress: float) -> str | None:
        """A training that is over before its schedule, though all of it was reported."""
        last, total = self.schedule.last_epoch, self.schedule.total_steps
        share, held = last / total, self.schedule.rates[0]
        if share >= 1 - SLACK or progress <= share + SLACK or self.schedule.monitor is not None:
            return None
        final = self._own_rate(total)
        if final is not None and not differs(held, (final, final), self._recipe.lr):
            return None
        says = "" if final is None else f", and the recipe ends with {number(final)}"
        return (
            f"{_held(held)} at the end of the training{says}: the training ended after "
            f"{percent(share)} of its schedule, at step {last} of {total}; {_BUILD}"
        )

    def _recipes(self, step: int, held: float) -> list[tuple[float, float, float]]:
        """The recipe's rate of each group at a step, with the smallest and largest around it.

        Those of a plateau are all that it can have: which one depends on the evaluations.
        """
        schedule = self.schedule
        last = float(schedule.get_last_lr()[0])
        if self._call.is_own:  # a class, whose rates may depend on the optimizer
            rate = (last, last, last)
        elif schedule.monitor is not None and step > schedule.warmup_steps:
            level = plateau_level(held, self._recipe.lr, self._call)
            rate = (last if schedule.last_epoch == step else level, level, level)
        else:
            rate = self._expected.at(step)
        return [(rate[0] * f, rate[1] * f, rate[2] * f) for f in self._factors]

    def _own_rate(self, step: int) -> float | None:
        """The recipe's rate at a step where the step alone determines it."""
        is_known = not self._call.is_own and self.schedule.monitor is None
        return self._expected.at(step)[0] if is_known else None

    def _differ(
        self, held: Sequence[float], expected: Sequence[tuple[float, float, float]]
    ) -> int | None:
        """The first group whose rate is not the recipe's.

        Where a framework has divided the parameters anew, the first group alone is compared.
        """
        count = len(expected) if len(held) == len(expected) else 1
        for at in range(count):
            peak = self._recipe.lr * self._factors[at]
            if differs(held[at], expected[at][1:], peak):
                return at
        return None

    def _is_constant(self) -> bool:
        """Whether the rate is the same at all steps after the warm-up."""
        if self._call.is_own or self.schedule.monitor is not None:
            return False
        rates = self._expected.all()[self.schedule.warmup_steps :]
        return not differs(min(rates), (max(rates), max(rates)), self._recipe.lr)


def _held(rate: float) -> str:
    return f"the optimizer holds the learning rate {number(rate)}"
