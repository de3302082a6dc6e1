"""`dry_run=true`: the resolved sweep, a dozen recipes, and an estimate of the cost."""

from __future__ import annotations

import dataclasses
import math
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psutil

from lrsearch.cli.display import make_console
from lrsearch.cli.own_code_calls import own_code_calls
from lrsearch.cli.preview import to_find
from lrsearch.cli.range_test_display import plan_line, range_test_plan
from lrsearch.cli.run import check_machine, check_trial, with_data
from lrsearch.cli.shown_groups import group_lines_of_sweep
from lrsearch.config.metric import mode_warning
from lrsearch.data.parts import StreamedPart, first_samples
from lrsearch.errors import LrsearchError
from lrsearch.parameters.durations import Length
from lrsearch.recipe import Recipe
from lrsearch.settings import Configuration, Settings
from lrsearch.space.names import as_written
from lrsearch.storage.database import open_existing
from lrsearch.study.plan import plan_slots
from lrsearch.study.warm_start import warm_start
from lrsearch.text.formatting import byte_size, duration, plural, the_best
from lrsearch.text.yaml import to_yaml
from lrsearch.training.loop import Diverged, Task, train
from lrsearch.workers.device_slots import device_slots, in_words

_RECIPES = 12
_FEW_STEPS, _MORE_STEPS = 2, 22
_TIMED_SAMPLES = 1024


@dataclass(frozen=True)
class Cost:
    """The measured cost of a training with one batch size."""

    step_seconds: float
    evaluation_seconds: float
    steps: int
    evaluations: int
    memory: int
    """Bytes: of the device on a GPU, else of the process."""

    @property
    def trial_seconds(self) -> float:
        return self.steps * self.step_seconds + self.evaluations * self.evaluation_seconds


def dry_run(configuration: Configuration) -> int:
    """Print the plan; return the exit code. Nothing is stored but the cache of the data.

    Raises what the sweep itself would raise of its settings on this machine.
    """
    check_machine(configuration)
    settings, runtime = configuration.settings, configuration.runtime
    console = make_console()
    console.print(to_yaml(dict(settings.plain)), markup=False)
    if doubt := mode_warning(settings.metric, settings.train):
        console.print(f"[bold yellow]WARNING: {doubt}[/]", soft_wrap=True)
    settings, info = with_data(settings, console)
    check_trial(settings, info)
    for line in (
        *own_code_calls(settings, info),
        *settings.notes,
        *group_lines_of_sweep(settings, info),
    ):
        console.print(line, markup=False, soft_wrap=True)
    plan = range_test_plan(settings, info)
    planned = plan_slots(settings, _earlier(settings, runtime.storage_url))
    rng = random.Random(settings.study.seed)
    recipes = [settings.space.sample(rng) for _ in range(_RECIPES)]
    console.print(f"[bold]{_RECIPES} recipes of this space[/]")
    for recipe in recipes:
        console.print(f"  {recipe.describe(settings.space.searched)}", markup=False)
    given = [params for params, _ in planned if params][:_RECIPES]
    if given:
        console.print("\n[bold]tried first, as far as given[/]")
        for params in given:
            words = (f"{name}={value}" for name, value in as_written(params).items())
            console.print(f"  {' '.join(words)}", markup=False)
    if plan is not None:
        console.print(f"\n{to_find(settings.space)}", markup=False, soft_wrap=True)
        console.print(plan_line(plan), markup=False, soft_wrap=True)
    train = settings.train
    slots = device_slots(runtime.workers, train.device, train.threads, train.gpus)
    by = in_words(slots, train.gpus)
    console.print(f"\n[bold]{plural(len(planned), 'trial')}[/] by {by}")
    runs = 0
    if settings.confirm is not None:
        top, seeds = min(settings.confirm.top, len(planned)), settings.confirm.seeds
        runs = top * seeds
        console.print(f"then {the_best(top)} again on {seeds} fresh seeds: up to {runs} runs")
    if info is None:
        console.print("your own objective is not timed")
        return 0
    if train.gpus > 1:
        console.print(f"  timed in one process, which does the work of all {train.gpus:g} in turn")
    costs = _costs(settings, recipes)
    slowest, fastest = (
        pick(costs.items(), key=lambda item: item[1].trial_seconds) for pick in (max, min)
    )
    for size, cost in sorted(costs.items()):
        console.print(
            f"  batch {size}: {cost.step_seconds * 1e3:.2f} ms a step, "
            f"{plural(cost.steps, 'step')}, {duration(cost.trial_seconds)} a trial, "
            f"{byte_size(cost.memory)} a worker"
        )
    if plan is not None:
        steps = plan.ramps * plan.steps // len(plan.batch_sizes)
        seconds = sum(steps * _step_seconds(costs, size) for size in plan.batch_sizes)
        console.print(f"  the range test: at most {duration(seconds)}")
    rounds = (len(planned) + runs) / len(slots)
    console.print(
        f"the whole: {duration(rounds * fastest[1].trial_seconds)} to "
        f"{duration(rounds * slowest[1].trial_seconds)} without pruning and start-up, "
        f"{byte_size(len(slots) * max(c.memory for c in costs.values()))} of memory"
    )
    return 0


def _step_seconds(costs: Mapping[int, Cost], batch_size: int) -> float:
    """Seconds of a step with the nearest batch size that was measured."""
    nearest = min(costs, key=lambda size: abs(math.log(size / batch_size)))
    return costs[nearest].step_seconds


def _earlier(settings: Settings, storage_url: str) -> Sequence[Mapping[str, Any]]:
    """The parameters of trials that `study.warm_start` takes from another study."""
    if settings.study.warm_start is None:
        return ()
    database = open_existing(storage_url)
    try:
        return warm_start(settings, database).parameters
    finally:
        database.close()


def _costs(settings: Settings, recipes: list[Recipe]) -> dict[int, Cost]:
    """Measure the cost with the smallest and the largest batch size of the recipes."""
    from lrsearch.objectives.build import build_objective
    from lrsearch.objectives.builtin import TrainingObjective

    objective = build_objective(settings, None)
    if not isinstance(objective, TrainingObjective):
        raise LrsearchError("only lrsearch's own training can be timed")
    by_size = {recipe.batch_size: recipe for recipe in recipes}
    sizes = {min(by_size), max(by_size)}
    folds = settings.data.folds or 1
    return {size: _cost(objective.task(by_size[size], 0, lambda: False), folds) for size in sizes}


def _cost(task: Task, trainings: int) -> Cost:
    """Time a few steps, and an evaluation of at most a thousand samples.

    A trial has so many `trainings`.
    """
    import torch

    validation = task.parts.validation
    share = 1.0
    if not isinstance(validation, StreamedPart) and len(validation) > _TIMED_SAMPLES:
        share = len(validation) / _TIMED_SAMPLES
        few = first_samples(validation, _TIMED_SAMPLES)
        task.parts = dataclasses.replace(task.parts, validation=few)
    length = task.length
    seconds = {}
    for steps in (_FEW_STEPS, _FEW_STEPS, _MORE_STEPS):  # the first time is to warm up
        task.length = Length(steps, length.steps_per_epoch, steps)
        started = time.perf_counter()
        try:
            list(train(task))
        except Diverged:
            continue  # a random recipe may; the steps were taken
        finally:
            seconds[steps] = time.perf_counter() - started
    step = max(0.0, seconds[_MORE_STEPS] - seconds[_FEW_STEPS]) / (_MORE_STEPS - _FEW_STEPS)
    evaluation = max(0.0, seconds[_FEW_STEPS] - _FEW_STEPS * step) * share
    on_gpu = task.device.type == "cuda"
    memory = torch.cuda.max_memory_allocated() if on_gpu else psutil.Process().memory_info().rss
    return Cost(step, evaluation, trainings * length.steps, trainings * length.evaluations, memory)
