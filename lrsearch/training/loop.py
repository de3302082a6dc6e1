"""The training loop: it yields at each evaluation, and can be saved and resumed at any step."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from lrsearch.data.nesting import pieces, samples_in
from lrsearch.errors import UserError
from lrsearch.evaluation import Evaluation
from lrsearch.optimizers.modes import set_mode
from lrsearch.text.formatting import plural
from lrsearch.training.averaging import averaged_copy
from lrsearch.training.batches import (
    Batch,
    EvaluationBatches,
    augmentation,
    batches_per_epoch,
    samples_of,
    training_batches,
)
from lrsearch.training.best_weights import BestWeights
from lrsearch.training.early_stopping import evaluations_without_gain
from lrsearch.training.generators import generator_states, set_generator_states
from lrsearch.training.layout import in_layout, prepared_forward
from lrsearch.training.micro_batch import MicroBatch
from lrsearch.training.out_of_memory import is_out_of_memory, said_of_memory
from lrsearch.training.precision import explained, precision_of
from lrsearch.training.scores import Divisible
from lrsearch.training.settings import EVALUATION_BATCH
from lrsearch.training.task import OutOfMemory, Stopped, Task
from lrsearch.training.watch import WINDOW, Diverged, LossWatch

__all__ = ["Diverged", "OutOfMemory", "Stopped", "Task", "Training", "train"]


def train(task: Task) -> Iterator[Evaluation]:
    """Train a task from start to end, without resuming; yields as `Training.evaluations` does."""
    return Training(task).evaluations()


def autocast_of(amp: str, device: str) -> contextlib.AbstractContextManager[object]:
    """The context in which a model computes in the half precision `amp`: none, bf16 or fp16."""
    half = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(amp)
    return contextlib.nullcontext() if half is None else torch.autocast(device, half)


class Training:
    """One training, whose state can be taken after any step and while it yields an evaluation."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.step = 0
        self.optimizer = task.recipe.build_optimizer(task.model)
        self.schedule = task.recipe.build_schedule(self.optimizer, task.length)
        self.forward = prepared_forward(task.model, task.settings)
        self._loss: Any = task.ranks.parallel(task.model, self._loss_of)
        """The loss of a batch, whose gradients are averaged over the ranks."""
        ema = task.settings.ema
        self.averaged = None if ema is None else averaged_copy(task.model, ema)
        if self.averaged is not None:
            prepared_forward(self.averaged.module, task.settings)
        self.micro_batch = task.micro_batch or MicroBatch(task.settings.micro_batch)
        self._best = BestWeights(task.metric_mode) if task.keeps_best else None
        self._watched: list[float] = []
        """The metric at each evaluation so far, for early stopping."""
        self._early_end: str | None = None
        """Why the training ends before its planned length; None where it goes on."""
        self.precision = precision_of(task.model)
        self.parameters = [p for p in task.model.parameters() if p.requires_grad]
        self.watch = LossWatch(task.on_losses, task.ranks.total)
        self.norms: list[torch.Tensor] = []
        kind, amp = task.device.type, task.settings.amp
        self.autocast = autocast_of(amp, kind)
        self.scaler = torch.amp.GradScaler(kind) if amp == "fp16" else None
        self._lr_start = tuple(self.schedule.rates)
        self._started = time.perf_counter()
        self._batches_per_epoch = (
            batches_per_epoch(task.parts.train, task.recipe.batch_size)
            or task.length.steps_per_epoch
        )
        self._augmentation: torch.Generator | None = None

    @property
    def is_done(self) -> bool:
        """Whether the last step has been taken, or the training has ended early."""
        return self.step >= self.task.length.steps or self._early_end is not None

    @property
    def weights(self) -> dict[str, torch.Tensor]:
        """The weights of the evaluation that counts: the best so far, or the last one.

        They are the model's, or their moving average.
        """
        if self._best is not None and self._best.weights is not None:
            return self._best.weights
        weights: dict[str, torch.Tensor] = self.evaluated.state_dict()
        return weights

    @property
    def evaluated(self) -> nn.Module:
        """The model that is evaluated: the one that trains, or that of averaged weights."""
        return self.task.model if self.averaged is None else self.averaged.module

    def evaluations(self) -> Iterator[Evaluation]:
        """Train, yielding after every `length.steps_per_evaluation` steps and after the last one.

        The training ends when the iteration does: early, if `settings.early_stopping` says so.
        Raises Diverged, OutOfMemory or Stopped.
        """
        try:
            yield from self._evaluations()
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            raise self._out_of_memory(error) from None

    def state_dict(self) -> dict[str, Any]:
        """The state that `load_state_dict` needs, loadable with `weights_only=True`.

        As with torch's own, the tensors are those of the training: save or copy them before it
        goes on. Losses that nobody has read yet are read, so it may raise Diverged. An optimizer
        with modes stays in its mode: switching back and forth would change the last bits.
        """
        generator, scaler = self._augmentation, self.scaler
        return {
            "step": self.step,
            "model": self.task.model.state_dict(),
            "averaged": None if self.averaged is None else self.averaged.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "scaler": None if scaler is None else scaler.state_dict(),
            "watch": self.watch.state_dict(),
            "micro_batch": self.micro_batch.state_dict(),
            "watched": self._watched,
            "best": None if self._best is None else self._best.state_dict(),
            "norms": torch.stack(self.norms) if self.norms else None,
            "lr_start": self._lr_start,
            "seconds": time.perf_counter() - self._started,
            "device": self.task.device.type,
            "generators": self.task.ranks.gathered(generator_states(self.task.device)),
            "augmentation": None if generator is None else generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state of `state_dict`, for the same task on any device.

        Raises what torch raises if the model or the optimizer is different.
        """
        device = self.task.device
        self.step = state["step"]
        self.task.model.load_state_dict(state["model"])
        if self.averaged is not None:
            self.averaged.load_state_dict(state["averaged"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        if self.scaler is not None:
            self.scaler.load_state_dict(state["scaler"])
        self.watch.load_state_dict(state["watch"])
        self.micro_batch.load_state_dict(state["micro_batch"])
        self._watched = list(state["watched"])
        if self._best is not None:
            self._best.load_state_dict(state["best"])
        self._early_end = self._reason_to_end()
        norms = state["norms"]
        self.norms = [] if norms is None else list(norms.to(device).unbind())
        self._lr_start = tuple(state["lr_start"])
        self._started = time.perf_counter() - state["seconds"]
        generators, rank = state["generators"], self.task.ranks.rank
        if rank < len(generators):  # else more ranks train now than before
            set_generator_states(generators[rank], device)
        self._augmentation = None
        if state["augmentation"] is not None and state["device"] == device.type:
            self._augmentation = torch.Generator(device)
            self._augmentation.set_state(state["augmentation"])

    def _evaluations(self) -> Iterator[Evaluation]:
        task, every = self.task, self.task.settings.checkpoint_every
        if not self.is_done:
            set_mode(task.model, self.optimizer, train=True)
        while not self.is_done:
            for batch in self._rest_of_epoch():
                self._train_step(batch)
                if self.is_done or self.step % task.length.steps_per_evaluation == 0:
                    yield self._evaluation()
                    self._started = time.perf_counter()
                if self.is_done:
                    return
                is_due = every is not None and self.step % every == 0
                if is_due or self.step % self._batches_per_epoch == 0:
                    task.checkpoint(is_due)
                if task.ranks.decided(task.should_stop()):
                    self.watch.look(wait=True)
                    raise Stopped(f"stopped at step {self.step}")

    def _rest_of_epoch(self) -> Iterator[Batch]:
        """The remaining batches of the current epoch."""
        task = self.task
        epoch, first = divmod(self.step, self._batches_per_epoch)
        if (task.crop or task.flip) and (first == 0 or self._augmentation is None):
            self._augmentation = augmentation(task.seed, epoch, task.device)
        return training_batches(
            task.parts.train,
            task.recipe.batch_size,
            task.seed,
            epoch,
            task.device,
            task.crop,
            task.flip,
            first,
            self._augmentation,
            self.precision,
            self._batches_per_epoch,
        )

    def _train_step(self, batch: Batch) -> None:
        lr = self.optimizer.param_groups[0]["lr"]
        self.step += 1
        self.optimizer.zero_grad(set_to_none=True)
        samples = len(batch[0]) if self.task.is_pairs else samples_in(batch)
        loss = self.micro_batch.train(
            lambda size: self._backward(batch, samples, size), samples, self.task.model
        )
        self._measure_and_clip()
        if self._optimizer_step():
            self.schedule.step()
            if self.averaged is not None:
                self.averaged.update_parameters(self.task.model)
        if self.watch.add(loss, lr):
            self.watch.look()

    def _backward(self, batch: Batch, samples: int, piece: int) -> torch.Tensor:
        """Compute the gradients of the batch's mean loss and return the loss, a scalar tensor.

        The batch is divided among the ranks, and a rank's share is split into pieces of at most
        `piece` samples. Their sizes differ by at most one, because batch normalisation cannot train
        on a remainder of one sample. The loss of a rank is its share of the mean. Raises UserError
        for a batch of fewer samples than ranks.
        """
        ranks, own, whole = self.task.ranks, samples, batch
        if samples < ranks.size:
            raise UserError(
                f"a batch of {plural(samples, 'sample')} cannot be divided among the {ranks.size} "
                f"GPUs of train.gpus: take fewer GPUs, or larger batches"
            )
        if ranks.size > 1:
            batch, own = [*pieces(batch, samples, ranks.size)][ranks.rank]
        count = math.ceil(own / piece)
        if count == 1 and ranks.size == 1:
            return self._backward_piece(batch)
        total = torch.zeros((), device=self.task.device)
        for number, (part, size) in enumerate(pieces(batch, own, count), start=1):
            with ranks.accumulating(self._loss, is_last=number == count):
                total += self._backward_piece(part, whole, size / samples)
        return total

    def _backward_piece(self, batch: Batch, *whole: Any) -> torch.Tensor:
        """Add the gradients of what `_loss_of` gives, and return it."""
        loss: torch.Tensor = self._loss(batch, *whole)
        scaled = loss if self.scaler is None else self.scaler.scale(loss)
        if self.task.ranks.size > 1:
            scaled = scaled * self.task.ranks.size  # their gradients are averaged, not added
        scaled.backward()  # type: ignore[no-untyped-call]
        return loss.detach().float()

    def _loss_of(self, batch: Batch, whole: Batch | None = None, share: float = 1.0) -> Any:
        """The mean loss of a batch; of a piece that has a share of a whole one, what it adds to it.

        Losses with class weights are divided by the sum of the weights, not by samples.
        """
        task = self.task
        if task.loss_step is not None:
            is_last = task.settings.channels_last
            with self.autocast:
                loss = task.loss_step(task.model, in_layout(batch, is_last)).reshape(())
        else:
            x, y = batch
            with self.autocast, explained(x):
                outputs = self.forward(x)
                if whole is not None and isinstance(task.loss, Divisible):
                    return task.loss.part(outputs, y, whole[1])
                loss = task.loss(outputs, y)
        return loss if whole is None else loss * share

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
        """Take the optimizer step; return False if the gradient scaler skipped it."""
        if self.scaler is None:
            self.optimizer.step()
            return True
        self.scaler.step(self.optimizer)
        before = self.scaler.get_scale()
        self.scaler.update()
        return bool(self.scaler.get_scale() >= before)

    def _evaluation(self) -> Evaluation:
        """Evaluate, step a plateau scheduler, and begin to measure for the next evaluation."""
        task = self.task
        length, clip = task.length, task.recipe.grad_clip
        lr_end = tuple(self.schedule.rates)
        self.watch.look(wait=True)
        values = {"train_loss": self.watch.mean(), **self._validate()}
        if "val_loss" in values:
            self.watch.check_value(values["val_loss"], self.step, lr_end[0], "val_loss")
        if self._best is not None:
            value = values.get(task.metric_name, math.nan)
            self._best.evaluated(value, self.evaluated.state_dict())
        if task.settings.early_stopping is not None:
            self._watched.append(values.get(task.metric_name, math.nan))
            self._early_end = self._reason_to_end()
        # At the end the weights that were evaluated are the final ones.
        if self.averaged is None and not self.is_done:
            set_mode(task.model, self.optimizer, train=True)
        norms = torch.stack(self.norms) if self.norms else None
        evaluation = Evaluation(
            index=math.ceil(self.step / length.steps_per_evaluation),
            epoch=self.step / length.steps_per_epoch,
            step=self.step,
            values=values,
            lr_start=self._lr_start,
            lr_end=lr_end,
            grad_norm=None if norms is None else float(norms.mean()),
            clipped=None if norms is None or clip is None else float((norms > clip).float().mean()),
            seconds=time.perf_counter() - self._started,
            groups=group_names(self.optimizer),
            early_end=self._early_end,
        )
        self.norms = []
        self.schedule.evaluated(values)
        self._lr_start, self._started = tuple(self.schedule.rates), time.perf_counter()
        return evaluation

    def _validate(self) -> dict[str, float]:
        """The values of an evaluation on the validation part."""
        task = self.task
        if self.averaged is None:
            set_mode(task.model, self.optimizer, train=False)
        return task.ranks.from_first(
            lambda: self.micro_batch.evaluate(
                lambda size: task.measures.values(
                    self.evaluated,
                    EvaluationBatches(
                        task.parts.validation,
                        size,
                        task.device,
                        self.precision,
                        task.progress,
                        task.settings.channels_last,
                    ),
                    self.autocast,
                ),
                samples_of(task.parts.validation) or EVALUATION_BATCH,
                task.model,
            )
        )

    def _reason_to_end(self) -> str | None:
        """Why early stopping ends the training now; None where it goes on."""
        rule, task = self.task.settings.early_stopping, self.task
        if rule is None or self.step >= task.length.steps:
            return None
        waited = evaluations_without_gain(self._watched, task.metric_mode, rule.min_delta)
        if waited < rule.patience:
            return None
        by = f" by more than {rule.min_delta:g}" if rule.min_delta else ""
        return (
            f"early stopping: {task.metric_name} has not improved{by} for "
            f"{plural(waited, 'evaluation')}"
        )

    def _out_of_memory(self, error: Exception) -> OutOfMemory:
        return OutOfMemory(
            self.step,
            self.schedule.rates[0],
            self.task.recipe.batch_size,
            self.micro_batch.is_auto,
            self.task.ranks.size,
            said_of_memory(error),
        )


def group_names(optimizer: torch.optim.Optimizer) -> tuple[str, ...]:
    """The names of the parameter groups, or their indices for groups without a name."""
    return tuple(
        str(group.get("name", index)) for index, group in enumerate(optimizer.param_groups)
    )
