"""Trainings that two ranks do together, in a module that their processes can import."""

from __future__ import annotations

import contextlib
import dataclasses
from functools import partial
from typing import Any

import torch
from small_training import images, small_task
from torch import nn

from lrsearch.data.parts import Parts
from lrsearch.evaluation import Evaluation
from lrsearch.training.loop import Stopped, Task, Training
from lrsearch.training.ranks import Ranks
from lrsearch.training.settings import TrainSettings

CASES: dict[str, dict[str, Any]] = {
    "cosine": {"grad_clip": 0.5},
    "pieces": {"settings": TrainSettings(micro_batch=3), "optimizer": "adamw"},
    "plateau": {"scheduler": "plateau", "augment": False},
}
"""Trainings with clipping, augmentation, accumulation, and a schedule that depends on losses."""
STOPPED_AT = 10


def task(case: str) -> Task:
    """A task whose batches of 15 samples cannot be halved; without normalisation or dropout."""
    made = small_task(**CASES[case], parts=Parts(images(97, 0), images(40, 1), None))
    torch.manual_seed(4)
    made.model = nn.Sequential(nn.Flatten(), nn.Linear(36, 8), nn.Tanh(), nn.Linear(8, 3))
    made.recipe = dataclasses.replace(made.recipe, batch_size=15)
    return made


def trained(rank: int) -> dict[str, list[Evaluation]]:
    """The evaluations of all cases, on this rank of two; one is interrupted and goes on."""
    ranks, results = Ranks(rank, 2), {}
    for case in CASES:
        first = task(case)
        first.ranks = ranks
        training = Training(first)
        # Rank 0 alone is told to stop; the other stops at the same step.
        first.should_stop = partial(_is_stopped, training, rank)
        done: list[Evaluation] = []
        with contextlib.suppress(Stopped):
            done.extend(training.evaluations())
        assert training.step == STOPPED_AT
        rest = task(case)
        rest.ranks = ranks
        resumed = Training(rest)
        resumed.load_state_dict(training.state_dict())
        results[case] = [*done, *resumed.evaluations()]
    return results


def _is_stopped(training: Training, rank: int) -> bool:
    return rank == 0 and training.step == STOPPED_AT
