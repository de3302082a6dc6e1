"""The trial as the user's own training holds it: its recipe, and the reports of its evaluations."""

from __future__ import annotations

import contextlib
import copy
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch

from lrsearch.errors import UserError
from lrsearch.evaluation import Evaluation
from lrsearch.objectives.base import Report
from lrsearch.objectives.lr_guard import LrGuard
from lrsearch.parameters.durations import Length
from lrsearch.recipe import Recipe
from lrsearch.schedules.schedule import Schedule
from lrsearch.text.formatting import plural
from lrsearch.training.loop import Diverged, Stopped

MOST_STEPS = 2**31 - 1
"""The largest step that can be reported: the largest INTEGER of a database."""
_ROUNDING = 1e-6
"""Share of a training by which a report may miss its end by rounding."""


class Trial:
    """One attempt at training a recipe, in a training loop of the user's own.

    `recipe.build(model, steps=...)` makes the optimizer and the schedule. `report` gives lrsearch
    an evaluation, and raises TrialPruned where the trial is to end.
    """

    def __init__(
        self,
        recipe: Recipe,
        report: Report,
        *,
        seed: int,
        device: torch.device,
        epochs: float,
        steps: int | None = None,
        checkpoint_dir: str,
        should_stop: Callable[[], bool] = lambda: False,
        strict_lr: bool = False,
    ) -> None:
        """Begin an attempt.

        `epochs` is `train.epochs`, `steps` is `train.steps`, `checkpoint_dir` a path or URL that
        may not exist yet. `should_stop` says whether the worker must leave the training. With
        `strict_lr` a learning rate that is not the recipe's is an error, not a warning.
        """
        self.seed, self.device = seed, device
        self.epochs, self.steps = epochs, steps
        self.number: int | None = report.number
        """Number of the trial in its study; None where it belongs to none."""
        self.guard = LrGuard(recipe, epochs)
        self.recipe: Recipe = TrialRecipe.of(recipe, epochs, steps, self.guard.built)
        """The recipe to train with."""
        self.reported = False
        """Whether this attempt has reported an evaluation."""
        self.weights: Mapping[str, torch.Tensor] | None = None
        """What `keep_weights` was given last, on the CPU."""
        self._report, self._should_stop = report, should_stop
        self._strict_lr = strict_lr
        self._folder = checkpoint_dir
        self._count = 0
        self._epoch, self._step = -math.inf, -1
        self._since = time.perf_counter()
        self._is_warned = False
        """Whether it was warned that the progress that is reported is not that of the training."""
        self._ended: BaseException | None = None

    def __repr__(self) -> str:
        number = "by hand" if self.number is None else self.number
        return f"<Trial {number}: {self.recipe.describe()}>"

    @property
    def checkpoint_dir(self) -> str:
        """The folder of this trial's own files; another worker that takes it over finds them.

        It is created here, unless it is a URL.
        """
        if "://" not in self._folder:
            with contextlib.suppress(OSError):  # the user's code gets the error when it writes
                Path(self._folder).mkdir(parents=True, exist_ok=True)
        return self._folder

    @property
    def progress(self) -> float:
        """Share of the training that is reported as done, 1 at its end.

        The step over `steps` where that is set, else the epoch over `epochs`.
        """
        done, whole = (self._epoch, self.epochs) if self.steps is None else (self._step, self.steps)
        return max(0.0, done / whole)

    def report(
        self,
        epoch: float | None = None,
        val_loss: float | None = None,
        *,
        step: float | None = None,
        lr: float | Sequence[float] | None = None,
        optimizer: torch.optim.Optimizer | None = None,
        **metrics: float,
    ) -> None:
        """Report one evaluation; numbers may be tensors or arrays of one element.

        - `epoch`: epochs done since the start of the training, a fraction where that is natural.
        - `step`: optimizer steps done. Epochs and steps must increase from report to report.
          Progress is the step over `train.steps` where that is set, else the epoch over
          `train.epochs`. A training whose steps alone are reported counts as one epoch.
        - `lr`: the learning rate, or those of all parameter groups, that the optimizer holds. By
          default they are read from `optimizer`, or from the optimizer that `recipe.build` has
          made. They are compared with the recipe's.
        - `metrics`: further values by name; the study's metric must be among them.

        Raises TrialPruned where the pruner ends the trial, another exception where the worker must
        leave it, Diverged if `val_loss` is not finite, and UserError if a value is not a number,
        an epoch or step is not larger than the one before, progress is not known, or, with
        `objective.strict_lr`, the rate is not the recipe's. After that every call raises again.
        """
        if self._ended is not None:
            raise self._ended
        try:
            self._take(epoch, val_loss, step, lr, optimizer, metrics)
        except BaseException as error:
            self._ended = error
            raise

    def should_stop(self) -> bool:
        """Whether to leave the training: the trial has ended, or its worker must stop.

        It never raises. A training that returns for this reason before its end is handed back.
        """
        return self._ended is not None or self._should_stop()

    def heartbeat(self) -> None:
        """Show that the training is alive, where reports and `should_stop` are far apart."""
        self._report.progress()

    def keep_weights(self, weights: torch.nn.Module | Mapping[str, torch.Tensor]) -> None:
        """Give the weights of a model, or its `state_dict`, as the trial's; the last call counts.

        They are copied, and kept if the trial is among the best `train.keep_best`.
        """
        state = weights.state_dict() if isinstance(weights, torch.nn.Module) else weights
        self.weights = {
            name: value.detach().cpu().clone()
            if isinstance(value, torch.Tensor)
            else copy.deepcopy(value)  # what get_extra_state returns
            for name, value in state.items()
        }

    def raise_again(self, unless: BaseException | None = None) -> None:
        """Raise again the exception that ended the trial, in case the user's code caught it.

        Not if it is `unless`, the exception that the user's code has raised.
        """
        error, self._ended = self._ended, None
        try:
            if error is not None and error is not unless:
                raise error
        finally:
            del error  # a reference cycle through the traceback would keep the training's memory

    def returned(self) -> None:
        """Take note that the user's code has returned.

        Raises again what ended the trial, in case the user's code caught it, and Stopped where the
        worker must leave the training, and its last epoch was not reported.
        """
        self.raise_again()
        if self.progress < 1 and self._should_stop():
            raise Stopped(f"the training returned after epoch {self._epoch:g}, told to stop")
        if self.reported:
            self._warn_of_lr(self.guard.ended(self.progress))

    def _warn_of_lr(self, warning: str | None) -> None:
        """Tell a warning of the guard. Raises UserError instead with `strict_lr`."""
        if warning is None:
            return
        if self._strict_lr:
            raise UserError(f"objective.strict_lr: at epoch {self._epoch:g} {warning}")
        self._report.warn(f"at epoch {self._epoch:g} {warning}")

    def _take(
        self,
        epoch: float | None,
        val_loss: float | None,
        step: float | None,
        lr: float | Sequence[float] | None,
        optimizer: torch.optim.Optimizer | None,
        metrics: Mapping[str, float],
    ) -> None:
        given = None if step is None else self._checked_step(step)
        epoch = self._checked_epoch(epoch, given)
        rates = _rates(lr)
        if self.reported:
            self._count += 1
        else:
            # The first report shows where the user's code has resumed.
            self._count = self._report.rewind(epoch, math.inf if given is None else given)
        self.reported = True
        number = max(self._count, self._step + 1) if given is None else given
        self._epoch, self._step = epoch, number
        self._warn_of_progress()
        self._warn_of_lr(self.guard.check(self.progress, given, rates, optimizer))
        held = rates or self.guard.rates(optimizer) or (self.recipe.lr,)
        values: dict[str, float] = {}
        if val_loss is not None:
            values["val_loss"] = _number("val_loss", val_loss)
            if not math.isfinite(values["val_loss"]):
                raise Diverged(number, held[0], values["val_loss"], "val_loss")
        values |= {name: _number(name, value) for name, value in metrics.items()}
        seconds = time.perf_counter() - self._since
        self._report(
            Evaluation(
                index=self._count,
                epoch=epoch,
                step=number,
                values=values,
                lr_start=held,
                lr_end=held,
                grad_norm=None,
                clipped=None,
                seconds=seconds,
                groups=self.guard.groups(len(held)),
                verified=self.guard.verified,
            )
        )
        self._since = time.perf_counter()

    def _checked_epoch(self, reported: float | None, step: int | None) -> float:
        """The epoch of a report; without a reported one, the share of `steps` that is done."""
        if self.steps is not None and step is None:
            raise UserError(
                f"report: train.steps={self.steps} is the length of the training, so each report "
                f"needs step=, the number of optimizer steps done"
            )
        if reported is not None:
            epoch = _finite("epoch", reported)
        elif self.steps is not None and step is not None:
            epoch = step / self.steps
        elif step is not None:
            raise UserError(
                f"report: step {step} comes without an epoch, and nothing says what share of the "
                f"training is done: report the epoch, too, or set train.steps"
            )
        else:
            raise UserError("report: give epoch, the number of epochs done, or step=")
        if epoch <= self._epoch:
            raise UserError(
                f"report: epoch {epoch:g} comes after epoch {self._epoch:g}: each report of a "
                f"training must be of a later epoch than the one before"
            )
        return epoch

    def _warn_of_progress(self) -> None:
        """Warn, once, of epochs counted from 0, and of a report beyond the configured length."""
        is_late = self.steps is None and self._epoch == 0 and self.guard.steps > 0
        if self._is_warned or not (is_late or self.progress > 1 + _ROUNDING):
            return
        self._is_warned = True
        if is_late:
            self._report.warn(
                f"epoch 0 is reported after {plural(self.guard.steps, 'step')} of the schedule: "
                f"report the number of epochs done, 1 after the first one, so that the last one is "
                f"train.epochs={self.epochs:g} and is never pruned"
            )
            return
        if self.steps is None:
            done, key, whole = f"epoch {self._epoch:g}", "train.epochs", self.epochs
        else:
            done, key, whole = f"step {self._step}", "train.steps", self.steps
        self._report.warn(
            f"{done} is reported, but {key}={whole:g}: set {key} to the length of the training, by "
            f"which trials are compared and pruned"
        )

    def _checked_step(self, reported: float) -> int:
        """The optimizer step of a report."""
        number = _finite("step", reported)
        if not number.is_integer():
            raise UserError(f"report: step must be a whole number, not {number}")
        step = int(number)
        if not 0 <= step <= MOST_STEPS:
            raise UserError(f"report: step {step} is out of range: it must be 0 to {MOST_STEPS}")
        if step <= self._step:
            raise UserError(
                f"report: step {step} comes after step {self._step}: each report of a training "
                f"must be of a later step than the one before"
            )
        return step


class TrialRecipe(Recipe):
    """A recipe of a trial, which knows what is built from it."""

    _epochs: float
    _steps: int | None
    _built: Callable[[Schedule, Length], None]

    @classmethod
    def of(
        cls,
        recipe: Recipe,
        epochs: float,
        steps: int | None,
        built: Callable[[Schedule, Length], None],
    ) -> TrialRecipe:
        """A copy of a recipe; `built` is called with each schedule that is built from it.

        `steps`, or else `epochs`, is the length of the training where `build` is not given one.
        """
        copy = cls(**{field.name: getattr(recipe, field.name) for field in fields(recipe)})
        object.__setattr__(copy, "_epochs", epochs)
        object.__setattr__(copy, "_steps", steps)
        object.__setattr__(copy, "_built", built)
        return copy

    def build(
        self,
        model: torch.nn.Module,
        *,
        steps: int | None = None,
        epochs: float | None = None,
        length: Length | None = None,
    ) -> tuple[torch.optim.Optimizer, Schedule]:
        if length is None and epochs is None:
            epochs = self._epochs if self._steps is None else None
            steps = self._steps if steps is None else steps
        return super().build(model, steps=steps, epochs=epochs, length=length)

    def build_schedule(self, optimizer: torch.optim.Optimizer, length: Length) -> Schedule:
        schedule = super().build_schedule(optimizer, length)
        self._built(schedule, length)
        return schedule


def _rates(lr: float | Sequence[float] | None) -> tuple[float, ...] | None:
    """Reported rates, one per parameter group. Raises UserError if one is not a finite number."""
    if lr is None:
        return None
    many = lr if isinstance(lr, list | tuple) else [lr]
    return tuple(_finite("lr", rate) for rate in many) or None


def _number(name: str, value: object) -> float:
    """A reported value as a float. Raises UserError, naming the value, if it is not one number."""
    try:
        # `item` reads the single number of an array or a tensor, which may have a gradient.
        number: Any = value.item() if hasattr(value, "item") else value
        return float(number)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise UserError(
            f"report: {name} must be one number, not of the type {type(value).__name__}: {error}"
        ) from error


def _finite(name: str, value: object) -> float:
    """A reported value as a finite float. Raises UserError if it is not one."""
    number = _number(name, value)
    if not math.isfinite(number):
        raise UserError(f"report: {name} must be a finite number, not {number}")
    return number
