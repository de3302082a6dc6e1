"""Train the ramps: by the built-in loop, with a rate that rises by a constant factor each step."""

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
from lrsearch.training.loop import Diverged, Stopped, Training
from lrsearch.training.out_of_memory import is_out_of_memory

_DIGITS = 5
"""Significant digits of rates and losses."""


def run_ramps(
    objective: TrainingObjective, plan: RampPlan, should_stop: Callable[[], bool]
) -> Iterator[Ramp]:
    """Run the ramps of a plan, one after the other.

    Batch sizes that do not fit into the device's memory are left out. Raises Stopped.
    """
    settings = objective.settings
    for optimizer in plan.optimizers:
        for size in plan.batch_sizes:
            recipe = ramp_recipe(settings.space, optimizer, size, plan.steps)
            for number in range(plan.seeds):
                seed = derived_seed(settings.study.seed, "range test", number)
                try:
                    rates, losses = _run(objective, recipe, seed, plan.steps, should_stop)
                except Exception as error:
                    if not is_out_of_memory(error):
                        raise
                    break
                yield Ramp(optimizer, size, seed, rates, losses)


def ramp_recipe(space: Space, optimizer: str, batch_size: int, steps: int) -> Recipe:
    """Return the recipe of a ramp from LOW to HIGH in `steps` steps.

    All other parameters that are searched, such as a momentum, have the middle of their ranges.
    """
    fixed: Mapping[str, Any] = {"optimizer": optimizer, "batch_size": batch_size}

    def choose(name: str, domain: Domain) -> Any:
        return fixed.get(name, domain.middle())

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
    """Train one ramp; return rates and losses of its steps until it diverges. Raises Stopped."""
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
    # One step more than are trained: the model would be evaluated at the last one.
    task.length = Length(steps + 1, task.length.steps_per_epoch, steps + 1)
    # Compiling would take longer than the ramp, which has no evaluation of averaged weights.
    task.settings = dataclasses.replace(task.settings, compile=False, ema=None)
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
    return _rounded(rates), _rounded(losses)


def _rounded(values: Sequence[float]) -> tuple[float, ...]:
    """Round to _DIGITS, as the values are stored: figures from either are then the same."""
    return tuple(float(f"{value:.{_DIGITS}g}") for value in values)
