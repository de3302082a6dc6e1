"""What one training needs, and how it can end early."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import nn

from lrsearch.data.parts import Parts
from lrsearch.parameters.durations import Length
from lrsearch.recipe import Recipe
from lrsearch.training.settings import TrainSettings

if TYPE_CHECKING:
    from lrsearch.measures.build import MeasureFunction


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


@dataclass
class Task:
    """Everything one training needs; the model and the data are on the device."""

    model: nn.Module
    parts: Parts
    recipe: Recipe
    settings: TrainSettings
    length: Length
    loss: MeasureFunction
    metrics: Mapping[str, MeasureFunction]
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
