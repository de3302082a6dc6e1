"""What an objective is, and the report that it gives its evaluations to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import torch

from lrsearch.checkpoints.store import Checkpoints
from lrsearch.evaluation import Evaluation
from lrsearch.recipe import Recipe
from lrsearch.tuning.trajectory import LrTrajectory


class Report(Protocol):
    """Takes a trial's evaluations."""

    def __call__(self, evaluation: Evaluation) -> None:
        """Takes the next one; may raise to end the trial."""

    def progress(self) -> None:
        """Called after each batch of an evaluation: a long one does not stand still."""

    def restore(self, history: Sequence[Evaluation]) -> None:
        """Called once, before lrsearch's own training: these have been before, and no others."""

    def rewind(self, epoch: float) -> int:
        """Called once, by the user's training: what was reported before from `epoch` on is void.

        The index of the next evaluation, counted from 1.
        """


class Objective(Protocol):
    """Runs a recipe to its end, reporting each evaluation."""

    device_name: str

    def run(
        self,
        recipe: Recipe,
        seed: int,
        report: Report,
        should_stop: Callable[[], bool],
        checkpoints: Checkpoints,
    ) -> Mapping[str, torch.Tensor] | None:
        """Trains on from the newest of the checkpoints; returns the final weights.

        None for the user's own function, which keeps them itself. Raises what `report` raises,
        Diverged, OutOfMemory, Stopped, or the user's own error.
        """

    def trajectory(self, recipe: Recipe) -> LrTrajectory:
        """The rates and the number of evaluations of the recipe's whole training."""

    def test(
        self,
        recipe: Recipe,
        weights: Mapping[str, torch.Tensor],
        progress: Callable[[], None] = lambda: None,
    ) -> Mapping[str, float] | None:
        """What a trained model scores on the test part: `test_loss`, `test_accuracy`, ...

        `progress` is called after each batch. None where there is no such part, or lrsearch does
        not know it.
        """

    def most_evaluations(self) -> int:
        """How many evaluations a training has at most, whatever the recipe."""
