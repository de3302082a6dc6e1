"""A trial without a study: for a training that is run by hand."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence

import torch

from lrsearch.evaluation import Evaluation
from lrsearch.objectives.trial import Trial
from lrsearch.recipe import Recipe
from lrsearch.seeds import seed_everything


class PrintedReport:
    """Prints each evaluation in a line, to the last bit; never ends the trial."""

    number = None

    def __call__(self, evaluation: Evaluation) -> None:
        """Print an evaluation."""
        shown = "  ".join(f"{name} {value!r}" for name, value in evaluation.values.items())
        rate = evaluation.lr_end[0]
        print(f"epoch {evaluation.epoch:g}  {shown}  lr {rate!r}", flush=True)

    def warn(self, message: str) -> None:
        """Print a warning to the standard error."""
        print(f"warning: {message}", file=sys.stderr, flush=True)

    def progress(self) -> None:
        """Do nothing: no heartbeat is needed."""

    def restore(self, history: Sequence[Evaluation]) -> None:
        """Do nothing: there is no history."""

    def rewind(self, epoch: float, step: float = math.inf) -> int:
        """The first evaluation comes next."""
        return 1


def trial_by_hand(
    recipe: Recipe,
    *,
    seed: int = 0,
    epochs: float = 1,
    steps: int | None = None,
    device: str | None = None,
    checkpoint_dir: str = "checkpoints",
) -> Trial:
    """A trial whose reports are printed, and which is never told to stop.

    Seeds the generators of Python, NumPy and torch. `device` is CUDA's where there is one by
    default.
    """
    chosen = device or ("cuda" if torch.cuda.is_available() else "cpu")
    seed_everything(seed)
    return Trial(
        recipe,
        PrintedReport(),
        seed=seed,
        device=torch.device(chosen),
        epochs=epochs,
        steps=steps,
        checkpoint_dir=checkpoint_dir,
    )
