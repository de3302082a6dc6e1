"""The task of all contestants: recipes, model, data, and the format of results."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch.optim.lr_scheduler import LRScheduler

N_TRAIN, N_VALIDATION = 50_000, 10_000
PIXEL_MEAN, PIXEL_STD = 0.1307, 0.3081
"""Mean and standard deviation of MNIST's training images, as in common examples."""
MOMENTUM, WEIGHT_DECAY = 0.9, 1e-4
STEP_GAMMA = 0.1
RESULT = "result.json"


@dataclass(frozen=True)
class Recipe:
    """One of the fixed settings."""

    batch_size: int
    optimizer: str
    lr: float
    scheduler: str


# Each optimizer meets each scheduler. The long trainings (small batches) come first, so that
# neither of the two processes has a long one left at the end.
RECIPES = [
    Recipe(64, "sgd", 0.02, "constant"),
    Recipe(64, "adamw", 0.001, "cosine"),
    Recipe(64, "sgd", 0.05, "one_cycle"),
    Recipe(64, "adamw", 0.001, "step"),
    Recipe(128, "adamw", 0.001, "constant"),
    Recipe(128, "sgd", 0.05, "cosine"),
    Recipe(128, "adamw", 0.003, "one_cycle"),
    Recipe(128, "sgd", 0.05, "step"),
    Recipe(256, "sgd", 0.05, "constant"),
    Recipe(256, "adamw", 0.002, "cosine"),
    Recipe(256, "sgd", 0.1, "one_cycle"),
    Recipe(256, "adamw", 0.002, "step"),
]


@dataclass(frozen=True)
class Task:
    """One run: all recipes, trained with one seed."""

    data: str
    """A folder that torchvision's MNIST reads."""
    hidden: list[int]
    epochs: int
    seed: int

    def write(self, path: Path) -> None:
        """Write the task as JSON, for a program in another process."""
        path.write_text(json.dumps(asdict(self)))

    @classmethod
    def from_command_line(cls) -> Task:
        """Read the task that a contestant's program was started with."""
        return cls(**json.loads(Path(sys.argv[1]).read_text()))

    def steps(self, recipe: Recipe) -> int:
        """Return the optimizer steps of one training, without incomplete batches."""
        return self.epochs * (N_TRAIN // recipe.batch_size)


@dataclass(frozen=True)
class Trial:
    """Result of one training of a contestant; times are seconds since 1970."""

    recipe: int
    """Index in RECIPES."""
    start: float
    end: float
    steps: int
    validation_loss: float
    """Validation loss after the last epoch."""


def hand_in(trials: Iterable[Trial]) -> None:
    """Write the results into the working directory."""
    Path(RESULT).write_text(json.dumps([asdict(trial) for trial in trials]))


def collect(folder: Path) -> list[Trial]:
    """Read what `hand_in` wrote."""
    return [Trial(**trial) for trial in json.loads((folder / RESULT).read_text())]


def own_session() -> None:
    """Move this process to a session of its own, as lrsearch does with its workers.

    Linux divides the processor among sessions (autogroup), not processes: otherwise contestants
    with more sessions would get more of a busy processor.
    """
    os.setsid()


def build_model(hidden: list[int]) -> torch.nn.Module:
    """Build lrsearch's MLP by hand."""
    from torch import nn

    widths = [28 * 28, *hidden]
    layers: list[nn.Module] = [nn.Flatten()]
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(widths[-1], 10))


def build_optimizer(model: torch.nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Build torch's optimizer of a recipe."""
    import torch

    if recipe.optimizer == "sgd":
        return torch.optim.SGD(
            model.parameters(), lr=recipe.lr, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY
        )
    return torch.optim.AdamW(model.parameters(), lr=recipe.lr, weight_decay=WEIGHT_DECAY)


def build_scheduler(optimizer: torch.optim.Optimizer, recipe: Recipe, steps: int) -> LRScheduler:
    """Build torch's scheduler of a recipe, to be stepped after each batch."""
    from torch.optim import lr_scheduler

    match recipe.scheduler:
        case "constant":
            return lr_scheduler.ConstantLR(optimizer, factor=1.0, total_iters=0)
        case "cosine":
            return lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)
        case "step":  # once an epoch
            return lr_scheduler.StepLR(optimizer, step_size=steps // 3, gamma=STEP_GAMMA)
        case "one_cycle":
            # torch counts rates, and there is one more of them than steps.
            return lr_scheduler.OneCycleLR(
                optimizer, max_lr=recipe.lr, total_steps=steps + 1, cycle_momentum=False
            )
    raise ValueError(f"no scheduler {recipe.scheduler!r}")


def split_indices() -> tuple[torch.Tensor, torch.Tensor]:
    """Return the indices of training and validation images among 60,000, as lrsearch splits."""
    import torch

    order = torch.randperm(N_TRAIN + N_VALIDATION, generator=torch.Generator().manual_seed(0))
    return order[N_VALIDATION:], order[:N_VALIDATION]
