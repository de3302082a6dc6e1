"""The guard of a trial's learning rates: what the optimizer holds against what the recipe says.

A training loop of the user's own may never step the schedule, step it twice, build it for another
length, or leave it to a framework that sets the rates itself. It then trains another recipe than
the trial's, and nothing else shows that.
"""

from __future__ import annotations

import re
import weakref
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from lrsearch.errors import LrsearchError
from lrsearch.parameters.durations import Length
from lrsearch.recipe import Recipe
from lrsearch.schedules.plan import TorchCall
from lrsearch.schedules.schedule import Schedule
from lrsearch.text.formatting import number, plural

_EXACT = (1e-3, 1e-6)
"""Largest difference of rates that counts as none: a share of the rate, and one of the peak.

Rates in float32 tensors, from which torch's schedulers compute the next ones, add up such errors.
"""
_SLACK = 0.02
"""Share of a training by which its end may miss that of the schedule."""
_FEWEST = 3
"""Fewest times between two optimizer steps that show how often the schedule is stepped."""
_SKIPPED = 64
"""The same where a gradient scaler may skip the first steps: it halves its scale each time."""
_ROUGH, _ROUGH_SLACK, _ROUGH_STEPS = (0.1, 0.05), 0.05, 1000
"""The same, a share of the training, and steps, where the length of the training is not known."""
_BUILD = "build it with the number of optimizer steps of the whole training"
_STEPS = re.compile(r"\d\s*st\b")


class LrGuard:
    """Compares the learning rates of a training loop of the user's own with its recipe.

    One difference is told, the first: others may be its consequences.
    """

    def __init__(self, recipe: Recipe, epochs: float | None = None) -> None:
        """Guard the training of a recipe, which has `epochs` epochs where that is known."""
        self._recipe, self._epochs = recipe, epochs
        self._built: _Built | None = None
        self._told = False
        self._evaluated_late = 0
        """Number of reports after the warm-up, the latest left out."""
        self.verified = False
        """Whether the rates were compared at the last report, and were the recipe's."""

    def built(self, schedule: Schedule, length: Length) -> None:
        """Take note of a schedule that was built from the recipe; the last one counts."""
        self._built = _Built(self._recipe, schedule, length)
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
        self, built: _Built, step: int | None, held: Sequence[Sequence[float] | None]
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


class _Built:
    """A schedule that was built from a recipe, on an optimizer of the user's training."""

    def __init__(self, recipe: Recipe, schedule: Schedule, length: Length) -> None:
        self.schedule = schedule
        self._recipe = recipe
        self._call = recipe.call(length)[0]
        self._expected = _Rates(recipe, length)
        self._steps = _OptimizerSteps(schedule)
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
        if not self._steps.done and step is not None and step >= _FEWEST:
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
        if taken <= total + max(1, _SLACK * total) or self._is_constant():
            return None
        says = ""
        if (rate := self._own_rate(round(total * total / taken))) is not None:
            says = f", where the recipe says {number(rate)}"
        return (
            f"{_held(self.schedule.rates[0])} since step {total}, for which the schedule was "
            f"built, and the training is at step {taken}: the schedule ended after "
            f"{total / taken:.0%} of it{says}; {_BUILD}"
        )

    def cut_off(self, progress: float) -> str | None:
        """A training that is over before its schedule, though all of it was reported."""
        last, total = self.schedule.last_epoch, self.schedule.total_steps
        share, held = last / total, self.schedule.rates[0]
        if share >= 1 - _SLACK or progress <= share + _SLACK or self.schedule.monitor is not None:
            return None
        final = self._own_rate(total)
        if final is not None and not _differs(held, (final, final), self._recipe.lr):
            return None
        says = "" if final is None else f", and the recipe ends with {number(final)}"
        return (
            f"{_held(held)} at the end of the training{says}: the training ended after "
            f"{share:.0%} of its schedule, at step {last} of {total}; {_BUILD}"
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
            level = _level(held, self._recipe.lr, self._call)
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
            if _differs(held[at], expected[at][1:], peak):
                return at
        return None

    def _is_constant(self) -> bool:
        """Whether the rate is the same at all steps after the warm-up."""
        if self._call.is_own or self.schedule.monitor is not None:
            return False
        rates = self._expected.all()[self.schedule.warmup_steps :]
        return not _differs(min(rates), (max(rates), max(rates)), self._recipe.lr)


class _OptimizerSteps:
    """Counts the steps of an optimizer, and how often its schedule is stepped between them."""

    def __init__(self, schedule: Schedule) -> None:
        self.done = 0
        self.first = 0
        """The schedule's step at the first of them: above 0 in a training that was resumed."""
        self._between: Counter[int] = Counter()
        self._last = 0
        self._is_scaled = False
        # The optimizer must not keep its own schedule and model alive until the next garbage
        # collection.
        self._schedule = weakref.ref(schedule)
        optimizer: Any = schedule.optimizer
        while optimizer is not None:
            try:
                optimizer.register_step_post_hook(self._stepped)
                return
            except AttributeError:  # such as Accelerate's, around another one
                optimizer = getattr(optimizer, "optimizer", None)

    def pace(self) -> float | None:
        """How often the schedule is stepped for each step; None where that is once or not known.

        With several processes it may be stepped once for each, as Accelerate does. The number that
        most steps have counts: a gradient scaler may skip some of either.
        """
        seen = sum(self._between.values())
        if seen < _FEWEST:
            return None
        pace, count = self._between.most_common(1)[0]
        if 2 * count <= seen or pace in (1, _processes()):
            return None
        return None if pace == 0 and self._is_scaled and seen < _SKIPPED else pace

    def _stepped(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        schedule = self._schedule()
        if schedule is None:
            return
        at = schedule.last_epoch
        if self.done:
            self._between[at - self._last] += 1
        else:
            self.first = at
        self._last = at
        self.done += 1
        # Optimizers that take the scaler's verdict themselves are called for skipped steps, too.
        self._is_scaled = self._is_scaled or hasattr(optimizer, "found_inf")


class _Rates:
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
    total = steps or _ROUGH_STEPS
    per_epoch = max(1, round(total / epochs))
    try:
        length = Length(total, per_epoch, per_epoch).rough(_ROUGH_STEPS)
        call, warmup = recipe.call(length)
        if call.is_own:
            return None, False
        at = progress * length.steps
        if call.monitor is not None and at > warmup:
            expected = level = _level(held[0], recipe.lr, call)
            low = high = level
        else:
            rates = _Rates(recipe, length).all()
            around = length.steps * (_SLACK if length.steps == steps else _ROUGH_SLACK)
            window = rates[max(0, int(at - around)) : int(at + around) + 2]
            expected, low, high = rates[min(round(at), length.steps)], min(window), max(window)
    except (ArithmeticError, ValueError, LrsearchError):
        return None, False  # the recipe cannot be trained at all
    tolerances = _EXACT if length.steps == steps else _ROUGH
    if not _differs(held[0], (low, high), recipe.lr, tolerances):
        return None, True
    warning = (
        f"the learning rate is {number(held[0])} at {progress:.0%} of the training, and the recipe "
        f"says {number(expected)}: the loop does not follow the recipe's schedule; build it with "
        f"trial.recipe.build, and step it after each optimizer step"
    )
    return warning, True


def _counts_steps(value: Any) -> bool:
    """Whether a recipe has durations in optimizer steps."""
    if isinstance(value, Mapping):
        return any(map(_counts_steps, value.values()))
    if isinstance(value, list | tuple):
        return any(map(_counts_steps, value))
    return isinstance(value, str) and _STEPS.search(value) is not None


def _level(held: float, peak: float, call: TorchCall) -> float:
    """The rate that a plateau schedule can have that is nearest to the one held."""
    factor, least = float(call.arguments["factor"]), float(call.arguments.get("min_lr", 0.0))
    levels, rate = [peak], peak
    while rate > max(least, held / 2, peak * 1e-12) and 0 < factor < 1:
        rate = max(rate * factor, least)
        levels.append(rate)
    return min(levels, key=lambda level: abs(level - held))


def _differs(
    held: float,
    expected: Sequence[float],
    peak: float,
    tolerances: tuple[float, float] = _EXACT,
) -> bool:
    """Whether a rate lies outside of those expected, the smallest and the largest."""
    low, high = expected
    relative, of_peak = tolerances
    tolerance = relative * max(abs(low), abs(high)) + of_peak * peak
    return not low - tolerance <= held <= high + tolerance


def _processes() -> int:
    """The number of processes that train together."""
    distributed = torch.distributed
    if not (distributed.is_available() and distributed.is_initialized()):
        return 1
    return distributed.get_world_size()


def _held(rate: float) -> str:
    return f"the optimizer holds the learning rate {number(rate)}"
