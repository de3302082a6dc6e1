"""The protocols of an objective, and of the report that receives its evaluations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import torch

from lrsearch.checkpoints.store import Checkpoints
from lrsearch.evaluation import Evaluation
from lrsearch.recipe import Recipe
from lrsearch.tuning.trajectory import LrTrajectory


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

    def rewind(self, epoch: float) -> int:
        """Drop the evaluations of an earlier attempt from `epoch` on.

        Called once, by the user's own training. Returns the index of the next evaluation, from 1.
        """


class Objective(Protocol):
    """Training of recipes, which reports each evaluation."""

    device_name: str
    """Name of the device for records."""

    def run(
        self,
        recipe: Recipe,
        seed: int,
        report: Report,
        should_stop: Callable[[], bool],
        checkpoints: Checkpoints,
    ) -> Mapping[str, torch.Tensor] | None:
        """Train a recipe to its end, resuming from the newest checkpoint; return the final weights.

        For the user's own training they are what it gave to `Trial.keep_weights`, or None. Raises
        what `report` raises, Diverged, OutOfMemory, Stopped, or the error of the user's code.
        """

    def trajectory(self, recipe: Recipe) -> LrTrajectory:
        """The learning rates and the number of evaluations of a whole training of the recipe."""

    def test(
        self,
        recipe: Recipe,
        weights: Mapping[str, torch.Tensor],
        progress: Callable[[], None] = lambda: None,
    ) -> Mapping[str, float] | None:
        """The loss and metrics of trained weights on the test part: `test_loss`, `test_accuracy`...

        `progress` is called after each batch. None if there is no test part, or the user's own
        function has the data.
        """

    def most_evaluations(self) -> int:
        """The largest number of evaluations that a training of any recipe can have."""
