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
from lrsearch.measures import LOSSES
from lrsearch.measures.build import build
from lrsearch.registry import ComponentConfig
from lrsearch.training.loop import Stopped, Task, Training
from lrsearch.training.ranks import Ranks
from lrsearch.training.settings import Averaging, EarlyStopping, TrainSettings

CASES: dict[str, dict[str, Any]] = {
    "cosine": {"grad_clip": 0.5},
    "pieces": {"settings": TrainSettings(micro_batch=3), "optimizer": "adamw"},
    "plateau": {"scheduler": "plateau", "augment": False},
    "muon": {"optimizer": "muon", "freeze": "head.bias"},
    "weights": {"settings": TrainSettings(micro_batch=2)},
    "loss_step": {
        "settings": TrainSettings(ema=Averaging(0.9), early_stopping=EarlyStopping(4, 1.0)),
        "augment": False,
    },
}
"""Trainings with clipping, augmentation, accumulation, a schedule that depends on losses, frozen
parameters, class weights, a loss step, averaged weights, and an end before the last step."""
WEIGHTED = {"class_weights": [1.0, 30.0, 0.2], "ignore_index": 0, "label_smoothing": 0.1}
STOPPED_AT = 10


class Classifier(nn.Module):
    """A model without normalisation and dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(36, 8), nn.Tanh())
        self.head = nn.Linear(8, 3)
        self.unused = nn.Linear(5, 5)
        self.register_buffer("scale", torch.ones(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.head(self.body(x))
        return outputs

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        """What the last layer gets."""
        features: torch.Tensor = self.body(x)
        return features


def contrast(model: Classifier, batch: Any) -> torch.Tensor:
    """A loss for which the model is called twice, and by another method than `forward`."""
    x, y = batch
    distance = (model.embed(x) - model.embed(x.flip(-1))).square().mean()
    outputs = (model(x) + model(x.flip(-1))) * model.scale
    return nn.functional.cross_entropy(outputs, y) + distance


def task(case: str) -> Task:
    """A task whose batches of 15 samples cannot be halved."""
    made = small_task(**CASES[case], parts=Parts(images(97, 0), images(40, 1), None))
    torch.manual_seed(4)
    made.model = Classifier()
    made.recipe = dataclasses.replace(made.recipe, batch_size=15)
    if case == "weights":
        made.evaluated_loss = made.loss
        made.loss = build(ComponentConfig("cross_entropy", WEIGHTED), LOSSES, "train.loss")
    if case == "loss_step":
        made.loss_step = contrast
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
