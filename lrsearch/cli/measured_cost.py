"""Time and memory of lrsearch's own training, measured with a few steps."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import random
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import psutil

from lrsearch.data.parts import StreamedPart, first_samples
from lrsearch.errors import LrsearchError
from lrsearch.objectives.build import build_objective
from lrsearch.objectives.builtin import TrainingObjective
from lrsearch.parameters.durations import Length
from lrsearch.recipe import Recipe
from lrsearch.settings import Settings
from lrsearch.training.loop import Diverged, Task, train

_FEW_STEPS, _MORE_STEPS, _MOST_STEPS = 3, 23, 503
_ENOUGH = 0.2
"""Seconds of steps that are long enough to be measured."""
_TIMED_SAMPLES = 1024
"""Largest number of samples of a measured evaluation."""
_LONGEST = 10.0
"""Seconds after which no further optimizer is measured."""
_DRAWN = 200
"""Number of recipes that are drawn to find one of each optimizer."""
_REPORT_SECONDS = 0.005
"""Seconds in which an evaluation is stored, and compared with those of other trials."""


@dataclass(frozen=True)
class Cost:
    """The cost of a training with one batch size."""

    step_seconds: float
    evaluation_seconds: float
    begin_seconds: float
    """Seconds before the first step: to build the model, for example."""
    length: Length
    trainings: int
    """Number of trainings of a trial: one for each fold."""
    memory: int
    """Bytes: of the device on a GPU, else of the process."""

    @property
    def steps(self) -> int:
        """Number of steps of a trial."""
        return self.trainings * self.length.steps

    @property
    def trial_seconds(self) -> float:
        """Seconds of the whole trainings of a trial."""
        report = self.evaluation_seconds + _REPORT_SECONDS
        one = self.begin_seconds + self.length.steps * self.step_seconds
        return self.trainings * (one + self.length.evaluations * report)


def measured_costs(settings: Settings, n_train: int | None) -> dict[int, Cost]:
    """Return the cost of a trial by batch size, for each that the space has.

    The smallest and the largest are measured; the steps of others lie between them. The optimizers
    of the space are measured with the smallest, and count alike.
    """
    objective = build_objective(settings, None)
    if not isinstance(objective, TrainingObjective):
        raise LrsearchError("only lrsearch's own training can be timed")
    rng = random.Random(settings.study.seed)
    recipes = [settings.space.sample(rng) for _ in range(_DRAWN)]
    of_optimizer = {recipe.optimizer.name: recipe for recipe in recipes}
    trainings = settings.data.folds or 1
    sizes = sorted({int(size) for size in settings.space.shared["batch_size"].grid()})

    def measure(recipe: Recipe, size: int) -> Cost:
        recipe = dataclasses.replace(recipe, batch_size=size)
        return _measured(objective.task(recipe, 0, lambda: False), trainings)

    began = time.perf_counter()
    first, *others = of_optimizer.values()
    low, high = measure(first, sizes[0]), measure(first, sizes[-1])
    steps = [low.step_seconds]
    for recipe in others:
        if time.perf_counter() - began > _LONGEST:
            break
        steps.append(measure(recipe, sizes[0]).step_seconds)
    more = sum(steps) / len(steps) - low.step_seconds
    costs = {}
    for size in sizes:
        share = 0.0 if size == sizes[0] else (size - sizes[0]) / (sizes[-1] - sizes[0])
        step = low.step_seconds + share * (high.step_seconds - low.step_seconds) + more
        costs[size] = dataclasses.replace(
            high if share > 0 else low,
            step_seconds=max(step, 0.0),
            length=settings.train.length(size, n_train),
        )
    return costs


def range_test_seconds(costs: Mapping[int, Cost], sizes: Iterable[int], steps: int) -> float:
    """Return the seconds of so many steps with each of these batch sizes."""
    nearest = (min(costs, key=lambda known: abs(math.log(known / size))) for size in sizes)
    return sum(steps * costs[size].step_seconds for size in nearest)


def _measured(task: Task, trainings: int) -> Cost:
    """Time a few steps and evaluations of at most _TIMED_SAMPLES samples."""
    import torch

    validation = task.parts.validation
    share = 1.0
    if not isinstance(validation, StreamedPart) and len(validation) > _TIMED_SAMPLES:
        share = len(validation) / _TIMED_SAMPLES
        some = first_samples(validation, _TIMED_SAMPLES)
        task.parts = dataclasses.replace(task.parts, validation=some)
    length = task.length

    def seconds(steps: int, evaluations: int = 1) -> float:
        task.length = Length(steps, length.steps_per_epoch, steps // evaluations)
        started = time.perf_counter()
        with contextlib.suppress(Diverged):  # a random recipe may; the steps were taken
            list(train(task))
        return time.perf_counter() - started

    seconds(_FEW_STEPS)  # to warm up
    few, more = seconds(_FEW_STEPS), seconds(_MORE_STEPS)
    step, steps = max(0.0, more - few) / (_MORE_STEPS - _FEW_STEPS), _MORE_STEPS
    if step * _MORE_STEPS < _ENOUGH:
        steps = min(_MOST_STEPS, round(_ENOUGH / max(step, 1e-6)))
        step = max(0.0, seconds(steps) - few) / (steps - _FEW_STEPS)
    evaluation = max(0.0, seconds(_FEW_STEPS, _FEW_STEPS) - few) / (_FEW_STEPS - 1)
    begin = max(0.0, few - _FEW_STEPS * step - evaluation)
    on_gpu = task.device.type == "cuda"
    memory = torch.cuda.max_memory_allocated() if on_gpu else psutil.Process().memory_info().rss
    return Cost(step, evaluation * share, begin, length, trainings, memory)
