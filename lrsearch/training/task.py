"""The inputs of one training, and the exceptions that end it early."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import nn

from lrsearch.data.parts import Parts
from lrsearch.parameters.durations import Length
from lrsearch.recipe import Recipe
from lrsearch.training.ranks import Ranks
from lrsearch.training.scores import Measures
from lrsearch.training.settings import TrainSettings

if TYPE_CHECKING:
    from lrsearch.measures.build import MeasureFunction
    from lrsearch.training.micro_batch import MicroBatch
    from lrsearch.training.scores import Evaluate, LossStep


class OutOfMemory(Exception):
    """The device has too little memory for this model and batch size."""

    def __init__(
        self,
        step: int,
        lr: float,
        batch_size: int,
        is_auto: bool = False,
        ranks: int = 1,
        said: str = "",
    ) -> None:
        """`is_auto` says whether the batch was already accumulated from smaller pieces.

        `said` is the message of the allocator.
        """
        self.step, self.lr, self.said = step, lr, said
        advice = (
            "even in the smallest pieces"
            if is_auto
            else f"(train.micro_batch={'auto' if ranks == 1 else batch_size // ranks // 2 or 1} "
            f"accumulates a batch from smaller pieces)"
        )
        super().__init__(f"out of memory at step {step} with batches of {batch_size} {advice}")


class Stopped(Exception):
    """The training was stopped before its end, by `Task.should_stop`."""


@dataclass
class Task:
    """The inputs of one training; the model and the data are on the device."""

    model: nn.Module
    parts: Parts
    recipe: Recipe
    settings: TrainSettings
    length: Length
    loss: MeasureFunction
    """The loss whose gradients are followed."""
    metrics: Mapping[str, MeasureFunction]
    seed: int
    device: torch.device
    loss_step: LossStep | None = None
    """The user's function of (model, batch) that returns the loss; None computes `loss`."""
    evaluate: Evaluate | None = None
    """The user's function of (model, batches) that returns the values of an evaluation; None
    takes the means of `evaluated_loss` and `metrics`."""
    is_pairs: bool = True
    """Whether a batch is (inputs, targets), two tensors; others are for `loss_step`."""
    evaluated_loss: MeasureFunction | None = None
    """The loss of evaluations, `val_loss`; None is `loss`."""
    crop: int = 0
    flip: bool = False
    ranks: Ranks = field(default_factory=Ranks)
    """The processes that train the model together."""
    should_stop: Callable[[], bool] = field(default=lambda: False)
    """Called after each step; True ends the training with Stopped."""
    checkpoint: Callable[[bool], None] = field(default=lambda is_due: None)
    """Called to save the state: with True after every `settings.checkpoint_every` steps, and with
    False after each epoch, where the state should be saved only if that costs little time."""
    progress: Callable[[], None] = field(default=lambda: None)
    """Called after each batch of an evaluation."""
    metric_name: str = "val_loss"
    """The value that early stopping watches; `metric_mode` is `min` or `max`."""
    metric_mode: str = "min"
    keeps_best: bool = False
    """Whether the weights of the training are those of its evaluation with the best value of the
    metric, not of the last one."""
    micro_batch: MicroBatch | None = None
    """Shared by trainings of the same model and batch size; None is one of its own."""
    on_losses: Callable[[Sequence[float], Sequence[float]], None] | None = None
    """Called with the rates and losses of several steps, in order, once the losses have been read
    from the device; may raise to end the training."""

    @property
    def measures(self) -> Measures:
        """What the model is measured by in an evaluation."""
        loss = self.evaluated_loss or self.loss
        return Measures(loss, self.metrics, self.loss_step, self.evaluate, self.is_pairs)
