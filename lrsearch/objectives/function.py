"""The user's own training function as an objective."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from lrsearch.checkpoints.store import Checkpoints
from lrsearch.errors import UserError
from lrsearch.evaluation import Evaluation
from lrsearch.objectives.base import Report
from lrsearch.own_code import Signature, check_arguments, fresh, load_target
from lrsearch.recipe import Recipe
from lrsearch.seeds import seed_everything
from lrsearch.settings import Settings
from lrsearch.training.devices import device_label
from lrsearch.training.loop import Diverged
from lrsearch.tuning.trajectory import LrTrajectory

OFFERED = ("seed", "device", "epochs", "should_stop", "checkpoint_dir")
"""Arguments that the user's function gets if its signature has them."""
MOST_STEPS = 2**31 - 1
"""The largest step that can be reported: the largest INTEGER of a database."""


class OwnObjective:
    """The user's own training function: `objective(recipe, report, **arguments)`.

    Arguments named `seed`, `device`, `epochs`, `should_stop` or `checkpoint_dir` are given to the
    function if its signature has them. Files in `checkpoint_dir` are kept for another worker that
    takes the trial over.
    """

    def __init__(self, settings: Settings, device: torch.device) -> None:
        assert settings.objective is not None
        self.settings, self.device = settings, device
        self.device_name = device_label(device)
        self.function = load_target(settings.objective.name, "objective")
        check_arguments(
            self.function,
            settings.objective.arguments,
            "objective",
            offered=OFFERED,
            positional=2,
        )

    def run(
        self,
        recipe: Recipe,
        seed: int,
        report: Report,
        should_stop: Callable[[], bool],
        checkpoints: Checkpoints,
    ) -> Mapping[str, torch.Tensor] | None:
        seed_everything(seed)
        assert self.settings.objective is not None
        offered = {
            "seed": seed,
            "device": self.device,
            "epochs": self.settings.train.epochs,
            "should_stop": should_stop,
        }
        accepted = Signature.of(self.function).named
        extra = {name: value for name, value in offered.items() if name in accepted}
        if "checkpoint_dir" in accepted:
            extra["checkpoint_dir"] = _created(checkpoints.folder)
        arguments = fresh(dict(self.settings.objective.arguments))
        reporter = OwnReport(report, recipe)
        try:
            self.function(recipe, reporter, **{**extra, **arguments})
        except BaseException as error:
            reporter.raise_again(unless=error)
            raise
        reporter.raise_again()
        # A training that an earlier attempt has finished may have nothing left to report.
        if not reporter.called and report.rewind(math.inf) == 1:
            raise UserError("the objective never called report(epoch, val_loss)")
        return None

    def trajectory(self, recipe: Recipe) -> LrTrajectory:
        # Whether the function follows the recipe's schedule is not known.
        return LrTrajectory(
            self.most_evaluations(), recipe.optimizer.name, recipe.lr, recipe.batch_size
        )

    def test(
        self,
        recipe: Recipe,
        weights: Mapping[str, torch.Tensor],
        progress: Callable[[], None] = lambda: None,
    ) -> Mapping[str, float] | None:
        return None

    def most_evaluations(self) -> int:
        return max(1, round(self.settings.train.epochs))


def _created(folder: str) -> str:
    """The folder for the user's own files, created unless it is a URL."""
    if "://" not in folder:
        with contextlib.suppress(OSError):  # the user's function gets the error when it writes
            Path(folder).mkdir(parents=True, exist_ok=True)
    return folder


class OwnReport:
    """The function `report(epoch, val_loss, **metrics)` that the user's training calls.

    It raises an exception to end a trial that is pruned or stopped, which the user's code should
    not catch. The metric `lr` is recorded as the learning rate, `step` as the optimizer step. Both
    epochs and steps must increase from report to report.
    """

    def __init__(self, report: Report, recipe: Recipe) -> None:
        self.called = False
        self._count = 0
        self._epoch, self._step = -math.inf, -1
        self._report = report
        self._recipe = recipe
        self._ended: BaseException | None = None

    def __call__(self, epoch: float, val_loss: float, **metrics: float) -> None:
        """Report one evaluation.

        Raises Diverged if the loss is not finite, and UserError if a value is not a number, or an
        epoch or step is not larger than the one before.
        """
        if self._ended is not None:
            raise self._ended
        try:
            self._take(epoch, val_loss, metrics)
        except BaseException as error:
            self._ended = error
            raise

    def raise_again(self, unless: BaseException | None = None) -> None:
        """Raise again the exception that ended the trial, in case the user's function caught it.

        Not if it is `unless`, the exception that the function has raised.
        """
        error, self._ended = self._ended, None
        try:
            if error is not None and error is not unless:
                raise error
        finally:
            del error  # a reference cycle through the traceback would keep the training's memory

    def _take(self, epoch: float, val_loss: float, metrics: dict[str, float]) -> None:
        epoch = _finite("epoch", epoch)
        if epoch <= self._epoch:
            raise UserError(
                f"report: epoch {epoch:g} comes after epoch {self._epoch:g}: each report of a "
                f"training must be of a later epoch than the one before"
            )
        # The first report shows at which epoch the user's code has resumed.
        self._count = self._count + 1 if self.called else self._report.rewind(epoch)
        self.called = True
        lr = _finite("lr", metrics.pop("lr", self._recipe.lr))
        step = self._next_step(metrics.pop("step", None))
        self._epoch, self._step = epoch, step
        loss = _number("val_loss", val_loss)
        if not math.isfinite(loss):
            raise Diverged(step, lr, loss)
        values = {"val_loss": loss}
        values |= {name: _number(name, value) for name, value in metrics.items()}
        self._report(
            Evaluation(
                index=self._count,
                epoch=epoch,
                step=step,
                values=values,
                lr_start=(lr,),
                lr_end=(lr,),
                grad_norm=None,
                clipped=None,
                seconds=0.0,
            )
        )

    def _next_step(self, reported: float | None) -> int:
        """The optimizer step of a report; without a reported step, the number of reports."""
        if reported is None:
            return max(self._count, self._step + 1)
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
