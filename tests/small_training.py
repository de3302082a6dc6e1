"""A training of milliseconds with everything that has a state: for tests of going on with it."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy
import torch
from torch import nn

from lrsearch.data.parts import Parts, TensorPart
from lrsearch.evaluation import Evaluation
from lrsearch.measures.functions import accuracy
from lrsearch.optimizers.group_rules import parse_rules
from lrsearch.parameters.durations import Length
from lrsearch.recipe import Recipe
from lrsearch.registry import ComponentConfig
from lrsearch.seeds import seed_everything
from lrsearch.training.loop import Task
from lrsearch.training.settings import TrainSettings

STEPS = 27
LENGTH = Length(steps=STEPS, steps_per_epoch=6, steps_per_evaluation=4)
"""Evaluations and epochs end at different steps, and the last step ends neither."""
OPTIMIZERS = {
    "sgd": ComponentConfig("sgd", {"momentum": 0.9, "nesterov": True}),
    "adamw": ComponentConfig("adamw"),
    "muon": ComponentConfig("muon", {"adamw_factor": 0.5}),
}
# Durations that make something happen within so few steps.
SCHEDULERS: dict[str, dict[str, Any]] = {
    "plateau": {"patience": "4st", "threshold": 0.9},
    "cosine_restarts": {"T_0": "5st"},
    "cyclic": {"step_size_up": "3st", "step_size_down": "4st", "mode": "exp_range"},
    "multiplicative": {"every": "5st"},
}


class Noise(nn.Module):
    """Draws from each of the global generators, as a user's own code may."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return x
        return x + 0.1 * (random.random() + float(numpy.random.normal())) + 0.1 * torch.randn(1)


def images(n: int, seed: int) -> TensorPart:
    """Three classes of small images."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 1, 6, 6, generator=generator)
    return TensorPart(x, x.flatten(1)[:, :3].argmax(1))


def small_task(
    scheduler: str | ComponentConfig = "cosine",
    optimizer: str | ComponentConfig = "sgd",
    warmup: str | int = 0,
    grad_clip: float | None = None,
    settings: TrainSettings | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    parts: Parts | None = None,
    augment: bool = True,
    groups: Sequence[str] = (),
    freeze: str | None = None,
) -> Task:
    """The task, with a freshly seeded model."""
    seed_everything(3)
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(36, 8), nn.BatchNorm1d(8), Noise(), nn.Dropout(0.3), nn.Linear(8, 3)
    )
    recipe = Recipe(
        lr=0.05,
        batch_size=16,
        optimizer=OPTIMIZERS[optimizer] if isinstance(optimizer, str) else optimizer,
        scheduler=ComponentConfig(scheduler, SCHEDULERS.get(scheduler, {}))
        if isinstance(scheduler, str)
        else scheduler,
        warmup=warmup,
        grad_clip=grad_clip,
        groups=parse_rules("groups", groups, []),
        freeze=freeze,
    )
    return Task(
        model=model,
        parts=parts or Parts(images(100, 0), images(40, 1), None),
        recipe=recipe,
        settings=settings or TrainSettings(),
        length=LENGTH,
        loss=nn.functional.cross_entropy,
        metrics={"accuracy": accuracy},
        seed=5,
        device=torch.device("cpu"),
        crop=1 if augment else 0,
        flip=augment,
        should_stop=should_stop,
    )


def timeless(evaluations: list[Evaluation]) -> list[str]:
    """All of what they say but the seconds, to the last bit; NaN equals itself."""
    return [repr(dataclasses.replace(one, seconds=0.0)) for one in evaluations]


def same_weights(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """Whether they are equal to the last bit."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
