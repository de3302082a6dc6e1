"""The training loop: a generator that yields at each evaluation."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import nn

from lrsearch.data.parts import Parts
from lrsearch.recipe import Recipe
from lrsearch.schedules.durations import Length
from lrsearch.training.batches import Batch, evaluation_batches, training_batches
from lrsearch.training.settings import TrainSettings
from lrsearch.training.watch import WINDOW, Diverged, LossWatch

if TYPE_CHECKING:
    from lrsearch.training.losses import Measure

__all__ = ["Diverged", "Evaluation", "OutOfMemory", "Stopped", "Task", "train"]

_EVALUATION_BATCH = 1024


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
    """Asked once a window of steps; true ends the training with Stopped."""


def train(task: Task) -> Iterator[Evaluation]:
    """Trains, yielding after each `length.steps_per_evaluation` steps and after the last one.

    Raises Diverged, OutOfMemory or Stopped. Whoever stops iterating ends the training.
    """
    run = _Run(task)
    try:
        yield from run.evaluations()
    except torch.OutOfMemoryError:
        raise OutOfMemory(run.step, run.schedule.rates[0], task.recipe.batch_size) from None
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "can't allocate memory" not in str(error):
            raise
        raise OutOfMemory(run.step, run.schedule.rates[0], task.recipe.batch_size) from None


class _Run:
    """The state of one training."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.step = 0
        self.optimizer = task.recipe.build_optimizer(task.model)
        self.schedule = task.recipe.build_schedule(self.optimizer, task.length)
        self.forward: Callable[[torch.Tensor], torch.Tensor] = task.model
        if task.settings.compile:
            self.forward = torch.compile(task.model)
        self.parameters = [p for p in task.model.parameters() if p.requires_grad]
        self.watch = LossWatch()
        self.norms: list[torch.Tensor] = []
        half = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(task.settings.amp)
        kind = task.device.type
        self.autocast: contextlib.AbstractContextManager[object] = (
            contextlib.nullcontext() if half is None else torch.autocast(kind, half)
        )
        self.scaler = torch.amp.GradScaler(kind) if half == torch.float16 else None

    def evaluations(self) -> Iterator[Evaluation]:
        length, epoch, index = self.task.length, 0, 0
        started, lr_start = time.perf_counter(), tuple(self.schedule.rates)
        self.task.model.train()
        while self.step < length.steps:
            for batch in self._batches(epoch):
                self._train_step(batch)
                if self.step % length.steps_per_evaluation == 0 or self.step == length.steps:
                    index += 1
                    found = self._evaluation(index, lr_start, started)
                    yield found
                    self.schedule.evaluated(found.values)
                    started, lr_start = time.perf_counter(), tuple(self.schedule.rates)
                if self.step == length.steps:
                    return
            epoch += 1

    def _batches(self, epoch: int) -> Iterator[Batch]:
        task = self.task
        return training_batches(
            task.parts.train,
            task.recipe.batch_size,
            task.seed,
            epoch,
            task.device,
            task.crop,
            task.flip,
        )

    def _train_step(self, batch: Batch) -> None:
        lr = self.optimizer.param_groups[0]["lr"]
        self.step += 1
        self.optimizer.zero_grad(set_to_none=True)
        loss = self._backward(*batch)
        self._measure_and_clip()
        if self._optimizer_step():
            self.schedule.step()
        if self.watch.add(loss, lr):
            self.watch.look()
            if self.task.should_stop():
                raise Stopped(f"stopped at step {self.step}")

    def _backward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Gradients of the batch's mean loss, in pieces of `micro_batch`; returns that loss."""
        piece = self.task.settings.micro_batch or len(x)
        total: torch.Tensor | None = None
        for start in range(0, len(x), piece):
            part_x, part_y = x, y
            if piece < len(x):
                part_x, part_y = x[start : start + piece], y[start : start + piece]
            with self.autocast:
                loss = self.task.loss(self.forward(part_x), part_y)
            if len(part_x) < len(x):
                loss = loss * (len(part_x) / len(x))
            scaled = loss if self.scaler is None else self.scaler.scale(loss)
            scaled.backward()  # type: ignore[no-untyped-call]
            total = loss.detach() if total is None else total + loss.detach()
        assert total is not None
        return total.float()

    def _measure_and_clip(self) -> None:
        clip = self.task.recipe.grad_clip
        if clip is None and self.norms and self.step % WINDOW != 1:
            return
        if self.scaler is not None:
            self.scaler.unscale_(self.optimizer)
        if clip is not None:
            self.norms.append(nn.utils.clip_grad_norm_(self.parameters, clip))
        else:
            gradients = [p.grad for p in self.parameters if p.grad is not None]
            self.norms.append(nn.utils.get_total_norm(gradients))

    def _optimizer_step(self) -> bool:
        """Takes the step; false where the scaler skipped it."""
        if self.scaler is None:
            self.optimizer.step()
            return True
        self.scaler.step(self.optimizer)
        before = self.scaler.get_scale()
        self.scaler.update()
        return bool(self.scaler.get_scale() >= before)

    def _evaluation(self, index: int, lr_start: tuple[float, ...], started: float) -> Evaluation:
        lr_end = tuple(self.schedule.rates)
        self.watch.look(wait=True)
        values = {"train_loss": self.watch.mean(), **self._validate()}
        self.watch.check_value(values["val_loss"], self.step, lr_end[0])
        norms = torch.stack(self.norms) if self.norms else None
        self.norms = []
        clip = self.task.recipe.grad_clip
        return Evaluation(
            index=index,
            epoch=self.step / self.task.length.steps_per_epoch,
            step=self.step,
            values=values,
            lr_start=lr_start,
            lr_end=lr_end,
            grad_norm=None if norms is None else float(norms.mean()),
            clipped=None if norms is None or clip is None else float((norms > clip).float().mean()),
            seconds=time.perf_counter() - started,
        )

    def _validate(self) -> dict[str, float]:
        """The means over the validation part: `val_loss` and each metric."""
        task = self.task
        measures = {"val_loss": task.loss}
        measures |= {f"val_{name}": metric for name, metric in task.metrics.items()}
        size = task.settings.micro_batch or _EVALUATION_BATCH
        totals = dict.fromkeys(measures, torch.zeros((), device=task.device))
        task.model.eval()
        with torch.no_grad():
            for x, y in evaluation_batches(task.parts.validation, size, task.device):
                with self.autocast:
                    outputs = self.forward(x)
                    means = {name: measure(outputs, y) for name, measure in measures.items()}
                totals = {name: total + means[name] * len(x) for name, total in totals.items()}
        task.model.train()
        n = len(task.parts.validation)
        return {name: float(total) / n for name, total in totals.items()}
