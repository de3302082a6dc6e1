"""One process of a training on several GPUs: `python -m lrsearch.workers.rank study.json`.

torchrun starts it (`lrsearch.objectives.parallel`); the file holds the study's configuration and
the facts about its data.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from lrsearch.checkpoints.store import Store
from lrsearch.config.load import stored_settings
from lrsearch.errors import TrialPruned
from lrsearch.evaluation import Evaluation
from lrsearch.objectives.build import build_objective
from lrsearch.objectives.script import ScriptTrial, current_trial
from lrsearch.recipe import Recipe
from lrsearch.settings import Settings
from lrsearch.training.loop import Diverged, OutOfMemory, Stopped
from lrsearch.training.ranks import Ranks

_CHECKPOINTS = "ranks"
"""Folder of the checkpoints in the folder of the trial's own files."""


def main(path: Path) -> None:
    """Train the current trial as one of its ranks."""
    facts = json.loads(path.read_text())
    settings = stored_settings(facts["config"])
    trial = current_trial()
    assert isinstance(trial, ScriptTrial)
    if trial.device.type == "cuda":
        torch.cuda.set_device(trial.device)
    dist.init_process_group("nccl" if trial.device.type == "cuda" else "gloo")
    try:
        _train(trial, settings, facts["data"])
    finally:
        dist.destroy_process_group()


def _train(trial: ScriptTrial, settings: Settings, data: dict[str, Any]) -> None:
    ranks = Ranks(dist.get_rank(), dist.get_world_size())
    objective = build_objective(settings, data, ranks=ranks, device=trial.device)
    store = Store(trial.checkpoint_dir)
    channel = trial.channel
    assert channel is not None
    is_first = ranks.is_first
    try:
        weights = objective.run(
            Recipe.from_dict(trial.recipe.to_dict()),
            trial.seed,
            channel if is_first else _OtherRank(),
            # Rank 0 decides for all.
            trial.should_stop if is_first else lambda: False,
            store.trial_slot(_CHECKPOINTS, 0),
        )
    except Diverged as error:
        if is_first:
            channel.ended(error)
        return
    if weights is not None:
        trial.keep_weights(weights)


class _OtherRank:
    """The report of a rank that has nothing to report."""

    number = None

    def __call__(self, evaluation: Evaluation) -> None:
        """Do nothing."""

    def progress(self) -> None:
        """Do nothing."""

    def warn(self, message: str) -> None:
        """Do nothing."""

    def restore(self, history: Sequence[Evaluation]) -> None:
        """Do nothing."""

    def rewind(self, epoch: float, step: float = math.inf) -> int:
        """The index of the first evaluation."""
        return 1


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except (Stopped, TrialPruned):
        pass  # the worker knows
    except OutOfMemory as error:
        raise MemoryError(str(error)) from None
