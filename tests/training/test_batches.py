"""The batches of a training and of an evaluation."""

from __future__ import annotations

import torch

from lrsearch.data.parts import TensorPart
from lrsearch.training.batches import evaluation_batches, training_batches

CPU = torch.device("cpu")


def test_a_model_that_computes_in_place_leaves_the_data_as_they_are() -> None:
    part = TensorPart(torch.arange(10.0)[:, None], torch.arange(10))
    for x, y in evaluation_batches(part, 4, CPU):
        x.mul_(2.0)
        y.zero_()
    for x, y in training_batches(part, 4, 0, 0, CPU, 0, False):
        x.mul_(2.0)
        y.zero_()
    assert part.x[:, 0].tolist() == part.y.tolist() == list(range(10))
