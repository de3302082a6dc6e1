"""The user's own training function as an objective."""

from __future__ import annotations

import contextlib
import inspect
import math
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from lrsearch.checkpoints.store import Checkpoints
from lrsearch.config.settings import Settings
from lrsearch.course import Course
from lrsearch.errors import UserError
from lrsearch.objective import Report, name_of
from lrsearch.recipe import Recipe
from lrsearch.targets import check_arguments, load_target
from lrsearch.training.generators import seed_everything
from lrsearch.training.loop import Diverged, Evaluation

OFFERED = ("seed", "device", "epochs", "should_stop", "checkpoint_dir")
"""What the user's function is given where its signature asks for it."""


class OwnObjective:
    """The user's own training function: `objective(recipe, report, **arguments)`.

    Arguments of the function named `seed`, `device`, `epochs`, `should_stop` or `checkpoint_dir`
    are given, too. What it writes to the last one is there when the trial is taken over.
    """

    def __init__(self, settings: Settings, device: torch.device) -> None:
        assert settings.objective is not None
        self.settings, self.device = settings, device
        self.device_name = name_of(device)
        self.function = load_target(settings.objective.name, "objective")
        check_arguments(
            self.function,
            settings.objective.arguments,
            "objective",
            offered=[*list(inspect.signature(self.function).parameters)[:2], *OFFERED],
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
        accepted = inspect.signature(self.function).parameters
        known = {name: value for name, value in offered.items() if name in accepted}
        if "checkpoint_dir" in accepted:
            known["checkpoint_dir"] = _made(checkpoints.folder)
        reporter = OwnReport(report, recipe)
        self.function(recipe, reporter, **{**known, **self.settings.objective.arguments})
        # One that an earlier attempt brought to its end has nothing to report.
        if not reporter.called and report.rewind(math.inf) == 1:
            raise UserError("the objective never called report(epoch, val_loss)")
        return None

    def course(self, recipe: Recipe) -> Course:
        # What the function makes of the recipe's schedule is its own affair.
        return Course(self.most_evaluations(), recipe.optimizer.name, recipe.lr, recipe.batch_size)

    def test(
        self, recipe: Recipe, weights: Mapping[str, torch.Tensor]
    ) -> Mapping[str, float] | None:
        return None

    def most_evaluations(self) -> int:
        return max(1, round(self.settings.train.epochs))


def _made(folder: str) -> str:
    """The folder for the user's own files, made where it is one of this machine."""
    if "://" not in folder:
        with contextlib.suppress(OSError):  # the function finds out when it writes
            Path(folder).mkdir(parents=True, exist_ok=True)
    return folder


class OwnReport:
    """What the user's function calls: `report(epoch, val_loss, **metrics)`.

    It raises to end a trial that is pruned or stopped: let the exception pass. `lr=` among the
    metrics is recorded as the rate; `step=` as the optimizer step.
    """

    def __init__(self, report: Report, recipe: Recipe) -> None:
        self.called = False
        self._count = 0
        self._report = report
        self._recipe = recipe

    def __call__(self, epoch: float, val_loss: float, **metrics: float) -> None:
        """Reports one evaluation. Raises Diverged when the loss is not finite."""
        # The first call tells how far an earlier attempt's own checkpoint had gone.
        self._count = self._count + 1 if self.called else self._report.rewind(float(epoch))
        self.called = True
        lr = float(metrics.pop("lr", self._recipe.lr))
        step = int(metrics.pop("step", self._count))
        if not math.isfinite(float(val_loss)):
            raise Diverged(step, lr, float(val_loss))
        values = {"val_loss": float(val_loss)}
        values |= {name: float(value) for name, value in metrics.items()}
        self._report(
            Evaluation(
                index=self._count,
                epoch=float(epoch),
                step=step,
                values=values,
                lr_start=(lr,),
                lr_end=(lr,),
                grad_norm=None,
                clipped=None,
                seconds=0.0,
            )
        )
