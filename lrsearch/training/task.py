"""What one training needs, what its evaluations say, and how it can end early."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import nn

from lrsearch.data.parts import Parts
from lrsearch.recipe import Recipe
from lrsearch.schedules.durations import Length
from lrsearch.training.settings import TrainSettings

if TYPE_CHECKING:
    from lrsearch.training.losses import Measure


class OutOfMemory(Exception):
    """The device has no memory for this model and batch size."""

    def __init__(self, step: int, lr: float, batch_size: int) -> None:
        self.step, self.lr = step, lr
        super().__init__(
            f"out of memory at step {step} with batches of {batch_size} "
            f"(train.micro_batch accumulates a batch from smaller pieces)"
        )


class Stopped(Exception):
    """The training was asked to stop before its end."""


@dataclass(frozen=True)
class Evaluation:
    """What one evaluation found. Rates are those of `optimizer.param_groups`, one a group."""

    index: int
    epoch: float
    """Epochs done, counted from the start."""
    step: int
    values: Mapping[str, float]
    """`train_loss` (mean since the last evaluation), `val_loss` and `val_` + each metric."""
    lr_start: tuple[float, ...]
    """At the start of the first step since the last evaluation."""
    lr_end: tuple[float, ...]
    """After the last step, before a plateau sees this evaluation."""
    grad_norm: float | None
    """Mean over the steps it was measured at: all when clipping, else a few."""
    clipped: float | None
    """Share of steps whose gradient was clipped; None without clipping."""
    seconds: float


@dataclass
class Task:
    """Everything one training needs; the model and the data are on the device."""

    model: nn.Module
    parts: Parts
    recipe: Recipe
    settings: TrainSettings
    length: Length
    loss: Measure
    metrics: Mapping[str, Measure]
    seed: int
    device: torch.device
    crop: int = 0
    flip: bool = False
    should_stop: Callable[[], bool] = field(default=lambda: False)
    """Asked after each step; true ends the training with Stopped."""
    checkpoint: Callable[[bool], None] = field(default=lambda asked: None)
    """Called when it is time to save the state: with true after each `settings.checkpoint_every`
    steps, with false after each epoch, where saving is worth it only if it costs little."""
    progress: Callable[[], None] = field(default=lambda: None)
    """Called after each batch of an evaluation."""
    on_losses: Callable[[Sequence[float], Sequence[float]], None] | None = None
    """Given the rates and losses of the steps, in order, some at a time, when the device has told
    them; may raise to end the training."""
