"""The protocols of an objective, and of the report that receives its evaluations."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, Protocol

import torch

from lrsearch.checkpoints.store import Checkpoints
from lrsearch.errors import LrsearchError
from lrsearch.evaluation import Evaluation, PartScores
from lrsearch.recipe import Recipe
from lrsearch.states import Outcome
from lrsearch.tuning.trajectory import LrTrajectory

ScoredPart = Literal["val", "test"]
"""A part of the data, by the prefix of its values."""


class TrainingEnded(LrsearchError):
    """A training has ended without a result; the message says why in full."""

    def __init__(self, message: str, outcome: Outcome = Outcome.FAILED) -> None:
        self.outcome = outcome
        super().__init__(message)


class Report(Protocol):
    """Receiver of the evaluations of a trial."""

    @property
    def number(self) -> int | None:
        """Number of the trial; None where the training belongs to none."""

    def __call__(self, evaluation: Evaluation) -> None:
        """Receive the next evaluation; may raise to end the trial."""

    def progress(self) -> None:
        """Show that the training is alive; called after each batch of an evaluation."""

    def warn(self, message: str) -> None:
        """Receive a warning about the training, to be shown with its trial."""

    def restore(self, history: Sequence[Evaluation]) -> None:
        """Set the evaluations that an earlier attempt has reported, which may be none.

        Called once, before lrsearch's own training begins or resumes.
        """

    def rewind(self, epoch: float, step: float = math.inf) -> int:
        """Drop the evaluations of an earlier attempt from `epoch` or `step` on.

        Called once, by the user's own training. Returns the index of the next evaluation, from 1.
        """


class Objective(Protocol):
    """Training of recipes, which reports each evaluation."""

    device: torch.device
    """The device that trains, or the first of several."""
    device_name: str
    """Name of the device for records."""

    @property
    def keeps_device_memory(self) -> bool:
        """Whether it holds memory of a GPU between trainings."""

    def run(
        self,
        recipe: Recipe,
        seed: int,
        report: Report,
        should_stop: Callable[[], bool],
        checkpoints: Checkpoints,
    ) -> Mapping[str, torch.Tensor] | None:
        """Train a recipe to its end, resuming from the newest checkpoint; return its weights.

        For the user's own training they are what it gave to `Trial.keep_weights`, or None. Raises
        what `report` raises, Diverged, OutOfMemory, Stopped, or the error of the user's code.
        """

    def trajectory(self, recipe: Recipe) -> LrTrajectory:
        """The learning rates and the length of a whole training of the recipe."""

    def score(
        self,
        recipe: Recipe,
        weights: Mapping[str, torch.Tensor],
        part: ScoredPart,
        progress: Callable[[], None] = lambda: None,
    ) -> PartScores | None:
        """The loss and metrics of trained weights on a part: `test_loss`, `val_accuracy`...

        `progress` is called after each batch. None if there is no such part, or the user's own
        function has the data. On the validation part there are no values where those of its samples
        cannot be told: a training has them.
        """

    def parts(self) -> int:
        """The number of equal parts of a training after which the trials of a study are compared.

        In lrsearch's own training, the largest number of evaluations that a recipe can have.
        """
