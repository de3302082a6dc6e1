"""Schedules of a space that cannot be computed at some step: formulas, and the user's own."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from lrsearch.errors import UserError
from lrsearch.parameters.durations import Length
from lrsearch.schedules.families import SCHEDULERS
from lrsearch.schedules.plan import StepFunction
from lrsearch.space.domains import Choices, Domain, Fixed
from lrsearch.space.names import ParameterName
from lrsearch.space.space import Space

_STEPS = 1000
"""Largest number of steps that are checked, evenly spaced from the first to the last."""


def schedule_problems(
    space: Space, length_of: Callable[[int], Length], all_steps: bool = True
) -> list[str]:
    """A line for each formula that raises, as `1/epoch` does in epoch 0, and each own scheduler.

    `length_of` gives the length of a training with a batch size. The shortest warm-up counts,
    because a formula begins after it. Without `all_steps` only its first step is looked at.

    Raises OwnCodeError where a scheduler of the user's own raises.
    """
    problems = []
    for option, domains in space.scheduler.items():
        if option in space.own:
            problems += _problems_of_own(space, length_of, option)
            continue
        for name, domain in domains.items():
            parameter = SCHEDULERS[option].parameters.get(name)
            if parameter is None or parameter.kind != "formula":
                continue
            if not isinstance(domain, Fixed | Choices):
                continue
            for value in domain.grid():
                problem = _problem(space, length_of, option, name, value, all_steps)
                if problem:
                    problems.append(f"space.scheduler.{option}.{name}: {value!r} {problem}")
    return problems


def _problems_of_own(space: Space, length_of: Callable[[int], Length], option: str) -> list[str]:
    """What is wrong with a scheduler of the user's own, at the ends of its domains and between."""
    picks: tuple[Callable[[Domain], Any], ...] = (
        lambda domain: domain.ends()[0],
        lambda domain: domain.middle(),
        lambda domain: domain.ends()[-1],
    )
    problems: dict[str, None] = {}
    for pick in picks:

        def choose(stored: str, domain: Domain, pick: Callable[[Domain], Any] = pick) -> Any:
            if stored == "scheduler":
                return option
            return pick(domain) if stored.startswith(f"{option}.") else domain.middle()

        recipe = space.recipe(choose)
        try:
            length = recipe.rough(length_of(recipe.batch_size), _STEPS)
            if length is not None:
                recipe.preview(length)
        except UserError as error:
            problems[f"space.scheduler.{option}: {str(error).removeprefix('scheduler: ')}"] = None
    return [*problems]


def _problem(
    space: Space,
    length_of: Callable[[int], Length],
    option: str,
    name: str,
    value: Any,
    all_steps: bool,
) -> str | None:
    given = {"scheduler": option, str(ParameterName(name, option)): value}

    def choose(stored: str, domain: Domain) -> Any:
        if ParameterName.parse(stored).argument == "warmup":
            return domain.ends()[0]
        return given.get(stored, domain.middle())

    recipe = space.recipe(choose)
    length = length_of(recipe.batch_size)
    call, warmup = recipe.call(length)
    formula = call.arguments.get("lr_lambda")
    if not isinstance(formula, StepFunction):
        return None
    first = 1 if call.scheduler == "MultiplicativeLR" else 0  # as torch calls it
    last = length.steps - warmup if all_steps else first
    for step in range(first, last + 1, max(1, math.ceil(last / _STEPS))):
        try:
            formula(step)
        except (ArithmeticError, TypeError, ValueError) as error:
            at = step + warmup
            return f"cannot be computed at step {at}, epoch {at // length.steps_per_epoch}: {error}"
    return None
