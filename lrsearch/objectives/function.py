"""The user's own training function as an objective."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch

from lrsearch.checkpoints.store import Checkpoints
from lrsearch.errors import UserError
from lrsearch.evaluation import PartScores
from lrsearch.objectives.base import Report, ScoredPart
from lrsearch.objectives.own_length import own_parts, own_trajectory
from lrsearch.objectives.trial import Trial
from lrsearch.own_code import Signature, check_arguments, fresh, load_target
from lrsearch.recipe import Recipe
from lrsearch.seeds import seed_everything
from lrsearch.settings import Settings
from lrsearch.training.devices import device_label
from lrsearch.tuning.trajectory import LrTrajectory

OFFERED = ("seed", "device", "epochs", "should_stop", "checkpoint_dir")
"""Arguments that the user's function gets if its signature has them."""


class OwnObjective:
    """The user's own training function: `objective(trial, **arguments)`.

    A function whose second argument must be given by position, too, is called as
    `objective(recipe, report, **arguments)`. Arguments named `seed`, `device`, `epochs`,
    `should_stop` or `checkpoint_dir` are given to the function if its signature has them. Files in
    `checkpoint_dir` are kept for another worker that takes the trial over.
    """

    keeps_device_memory = False

    def __init__(self, settings: Settings, device: torch.device) -> None:
        assert settings.objective is not None
        self.settings, self.device = settings, device
        self.device_name = device_label(device)
        self.arguments = settings.objective.arguments
        self.function = load_target(settings.objective.name, "objective")
        check_arguments(
            self.function,
            self.arguments,
            "objective",
            offered=OFFERED,
            positional=2 if takes_report(self.function, self.arguments) else 1,
        )

    def run(
        self,
        recipe: Recipe,
        seed: int,
        report: Report,
        should_stop: Callable[[], bool],
        checkpoints: Checkpoints,
    ) -> Mapping[str, torch.Tensor] | None:
        trial = Trial(
            recipe,
            report,
            seed=seed,
            device=self.device,
            epochs=self.settings.train.epochs,
            steps=self.settings.train.steps,
            checkpoint_dir=checkpoints.folder,
            should_stop=should_stop,
            strict_lr=self.settings.strict_lr,
        )
        seed_everything(seed)
        try:
            call(self.function, trial, self.arguments)
        except BaseException as error:
            trial.raise_again(unless=error)
            raise
        trial.returned()
        # A training that an earlier attempt has finished may have nothing left to report.
        if not trial.reported and report.rewind(math.inf) == 1:
            own = "" if takes_report(self.function, self.arguments) else "trial."
            raise UserError(
                f"the objective never reported an evaluation: call {own}report(epoch, "
                f"val_loss=...) after each; what it returns is not used"
            )
        return trial.weights

    def trajectory(self, recipe: Recipe) -> LrTrajectory:
        return own_trajectory(self.settings.train, recipe)

    def score(
        self,
        recipe: Recipe,
        weights: Mapping[str, torch.Tensor],
        part: ScoredPart,
        progress: Callable[[], None] = lambda: None,
    ) -> PartScores | None:
        return None

    def parts(self) -> int:
        return own_parts(self.settings.train)


def call(function: Callable[..., Any], trial: Trial, arguments: Mapping[str, Any]) -> None:
    """Call a training function with a trial, what its signature asks for, and `arguments`."""
    accepted = Signature.of(function).named
    extra = {name: getattr(trial, name) for name in OFFERED if name in accepted}
    leading = (trial.recipe, trial.report) if takes_report(function, arguments) else (trial,)
    function(*leading, **{**extra, **fresh(dict(arguments))})


def takes_report(function: Any, arguments: Mapping[str, Any]) -> bool:
    """Whether a function is called with a recipe and a report instead of a trial.

    It is where it needs a second argument that neither lrsearch offers by name nor the
    configuration gives.
    """
    signature = Signature.of(function)
    second = signature.leading[1:2]
    return bool(second) and second[0] in signature.needed and not {*second} & {*OFFERED, *arguments}
