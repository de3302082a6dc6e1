"""Weights that give the classes of the training part equal shares of the loss."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lrsearch.data.cache import load_tensors
from lrsearch.data.spec import DataInfo
from lrsearch.data.values import IGNORED, are_numbers, is_one_hot
from lrsearch.errors import UserError

if TYPE_CHECKING:
    import torch


def balanced_weights(info: DataInfo) -> list[float]:
    """Weights from the training part of data in memory, for each class or each label.

    A class that has `count` of `n` targets in `C` classes weighs n / (C * count). The ones of a
    label (targets of zeros and ones, N×C×…) weigh zeros / ones. What never occurs weighs 0.

    Raises UserError for streamed data, whose targets are not known without reading all, and for
    targets that are neither classes nor zeros and ones.
    """
    if info.file is None:
        raise UserError(
            f"train.loss: balanced weights are computed from targets in memory, and {info.name} "
            f"is streamed: give a list of weights, or set data.in_memory=always"
        )
    targets = load_tensors(info.file, info.fingerprint)["train_y"]
    if are_numbers(targets):
        return _label_weights(targets, info)
    if is_one_hot(targets):
        targets = targets.argmax(1)
    counted = targets[targets != IGNORED]
    counts = counted.flatten().bincount(minlength=info.n_classes or 0).tolist()
    return [len(counted) / (len(counts) * count) if count else 0.0 for count in counts]


def _label_weights(targets: torch.Tensor, info: DataInfo) -> list[float]:
    if not bool(((targets == 0) | (targets == 1)).all()):
        raise UserError(
            f"train.loss: balanced weights are of targets that are 0 or 1, and those of "
            f"{info.name} are other numbers: give a list of weights"
        )
    labels = targets.movedim(1, 0).flatten(1)
    ones = labels.double().sum(1).tolist()
    return [(labels.shape[1] - count) / count if count else 0.0 for count in ones]
