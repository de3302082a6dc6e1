"""Runs the ramps: lrsearch's own training, with a schedule that rises by a factor each step."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from lrsearch.objectives.builtin import TrainingObjective
from lrsearch.parameters.durations import Length
from lrsearch.range_test.curve import Ramp, diverged_at
from lrsearch.range_test.plan import HIGH, LOW, RampPlan
from lrsearch.recipe import Recipe
from lrsearch.registry import ComponentConfig
from lrsearch.seeds import derived_seed
from lrsearch.space.domains import Domain
from lrsearch.space.space import Space
from lrsearch.training.loop import Diverged, OutOfMemory, Stopped, Training

_DIGITS = 5


def run_ramps(
    objective: TrainingObjective, plan: RampPlan, should_stop: Callable[[], bool]
) -> Iterator[Ramp]:
    """The ramps of a plan, one after the other.

    A batch size for which the device has no memory is left out. Raises Stopped.
    """
    settings = objective.settings
    for optimizer in plan.optimizers:
        for size in plan.batch_sizes:
            recipe = ramp_recipe(settings.space, optimizer, size, plan.steps)
            for number in range(plan.seeds):
                seed = derived_seed(settings.study.seed, "range test", number)
                try:
                    rates, losses = _run(objective, recipe, seed, plan.steps, should_stop)
                except OutOfMemory:
                    break
                yield Ramp(optimizer, size, seed, rates, losses)


def ramp_recipe(space: Space, optimizer: str, batch_size: int, steps: int) -> Recipe:
    """The recipe of a ramp: from LOW to HIGH in so many steps, all else in the middle of the space.

    So a momentum or a weight decay that is searched has its middle value.
    """
    given: Mapping[str, Any] = {"optimizer": optimizer, "batch_size": batch_size}

    def choose(name: str, domain: Domain) -> Any:
        return given.get(name, domain.middle())

    rise = f"{LOW / HIGH!r} ** (1 - step / {max(1, steps - 1)})"
    return dataclasses.replace(
        space.recipe(choose),
        lr=HIGH,
        lr_ref=None,
        batch_size=batch_size,
        warmup=0,
        scheduler=ComponentConfig("lambda", {"formula": rise}),
    )


def _run(
    objective: TrainingObjective,
    recipe: Recipe,
    seed: int,
    steps: int,
    should_stop: Callable[[], bool],
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Rates and losses of the steps, up to where the loss diverges. Raises Stopped."""
    rates: list[float] = []
    losses: list[float] = []
    interrupted = False

    def watch(new_rates: Sequence[float], new_losses: Sequence[float]) -> None:
        rates.extend(new_rates)
        losses.extend(new_losses)
        if (at := diverged_at(losses)) is not None:
            raise Diverged(at + 1, rates[at], losses[at])

    def is_over() -> bool:
        nonlocal interrupted
        interrupted = should_stop()
        return interrupted or training.step >= steps

    task = objective.task(recipe, seed, is_over)
    # A step more than are taken: at the last one the model would be evaluated.
    task.length = Length(steps + 1, task.length.steps_per_epoch, steps + 1)
    task.settings = dataclasses.replace(task.settings, compile=False)  # takes longer than a ramp
    task.on_losses = watch
    training = Training(task)
    try:
        for _ in training.evaluations():
            raise AssertionError("a ramp has no evaluation")
    except Diverged:
        pass
    except Stopped:
        if interrupted:
            raise
    return _short(rates), _short(losses)


def _short(values: Sequence[float]) -> tuple[float, ...]:
    """With as many digits as the study keeps, so that what is shown later is the same."""
    return tuple(float(f"{value:.{_DIGITS}g}") for value in values)
