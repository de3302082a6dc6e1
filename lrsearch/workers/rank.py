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
from lrsearch.objectives.base import TrainingEnded
from lrsearch.objectives.build import build_objective
from lrsearch.objectives.script import ScriptTrial, current_trial
from lrsearch.recipe import Recipe
from lrsearch.settings import Settings
from lrsearch.training.loop import Diverged, Stopped
from lrsearch.training.ranks import LONGEST_WAIT, Ranks

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
    backend = "nccl" if trial.device.type == "cuda" else "gloo"
    dist.init_process_group(backend, timeout=LONGEST_WAIT)
    try:
        _train(trial, settings, facts["data"])
    except (Stopped, TrialPruned, TrainingEnded):
        pass  # the worker knows
    except BaseException as error:
        if not _is_of_another_rank(error):
            _tell(trial, error)
        raise
    dist.destroy_process_group()


def _train(trial: ScriptTrial, settings: Settings, data: dict[str, Any]) -> None:
    assert trial.channel is not None
    ranks = Ranks(dist.get_rank(), dist.get_world_size())
    trial.channel.progress()
    objective = build_objective(settings, data, ranks=ranks, device=trial.device)
    store = Store(trial.checkpoint_dir)
    try:
        weights = objective.run(
            Recipe.from_dict(trial.recipe.to_dict()),
            trial.seed,
            _Reports(trial, ranks),
            # Rank 0 decides for all.
            trial.should_stop if ranks.is_first else lambda: False,
            store.trial_slot(_CHECKPOINTS, 0),
        )
    except Diverged as error:
        if ranks.is_first:
            _tell(trial, error)
        return
    if weights is not None:
        trial.keep_weights(weights)


class _Reports:
    """The reports of all ranks: rank 0 sends them, and all leave together where it must."""

    number = None

    def __init__(self, trial: ScriptTrial, ranks: Ranks) -> None:
        assert trial.channel is not None
        self._channel, self._ranks = trial.channel, ranks

    def __call__(self, evaluation: Evaluation) -> None:
        """Send an evaluation. Raises, on all ranks, what the answer says."""
        error: BaseException | None = None
        if self._ranks.is_first:
            try:
                self._channel(evaluation)
            except BaseException as raised:  # noqa: BLE001 - raised again below
                error = raised
        if self._ranks.decided(error is not None):
            raise error or TrialPruned("rank 0 has left the training")

    def progress(self) -> None:
        """Show that the training is alive; of the rank that evaluates."""
        self._channel.progress()

    def warn(self, message: str) -> None:
        """Send a warning, once."""
        if self._ranks.is_first:
            self._channel.warn(message)

    def restore(self, history: Sequence[Evaluation]) -> None:
        """Do nothing: the worker knows the evaluations of earlier attempts."""

    def rewind(self, epoch: float, step: float = math.inf) -> int:
        """The index of the first evaluation."""
        return 1


def _is_of_another_rank(error: BaseException) -> bool:
    """Whether an error only says that another rank has gone, which tells why by itself."""
    return isinstance(error, dist.DistError) or "gloo/transport" in str(error)


def _tell(trial: ScriptTrial, error: BaseException) -> None:
    """Tell the worker what ends the training."""
    assert trial.channel is not None
    trial.channel.ended(error)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
