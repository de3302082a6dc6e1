"""Losses and metrics by name: functions of (outputs, targets) that return the mean over a batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from lrsearch.targets import load_target
from lrsearch.training.settings import Target

if TYPE_CHECKING:
    import torch

    Measure = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

LOSSES = {
    "cross_entropy": "torch.nn.functional.cross_entropy",
    "mse": "torch.nn.functional.mse_loss",
    "l1": "torch.nn.functional.l1_loss",
    "smooth_l1": "torch.nn.functional.smooth_l1_loss",
    "bce_with_logits": "torch.nn.functional.binary_cross_entropy_with_logits",
}
METRICS = {
    "accuracy": "lrsearch.training.losses.accuracy",
    "top5_accuracy": "lrsearch.training.losses.top5_accuracy",
    "mae": "torch.nn.functional.l1_loss",
}
_OF_NUMBERS = ("mse", "l1", "smooth_l1", "bce_with_logits", "mae")
_OF_CLASSES = ("accuracy", "top5_accuracy")
"""Cross-entropy takes both: numbers are then the classes' probabilities."""


def accuracy(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Share of samples whose highest output is the target's class."""
    return (outputs.argmax(dim=1) == targets).float().mean()


def top5_accuracy(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Share of samples whose class is among the five highest outputs."""
    best = outputs.topk(min(5, outputs.shape[1]), dim=1).indices
    return (best == targets[:, None]).any(dim=1).float().mean()


def loss_target(loss: Target | None, classes: int | None) -> Target:
    """The loss that is meant: by default cross-entropy for classes, squared error for numbers."""
    return loss or Target("mse" if classes is None else "cross_entropy")


def metric_targets(metrics: Mapping[str, Target] | None, classes: int | None) -> dict[str, Target]:
    """The metrics that are meant: by default accuracy for classes, none for numbers."""
    if metrics is None:
        return {} if classes is None else {"accuracy": Target("accuracy")}
    return dict(metrics)


def misfit(target: Target, classes: int | None) -> str | None:
    """Why a function of the catalogue says nothing of such targets; None where it does."""
    if classes is None and target.name in _OF_CLASSES:
        return f"{target.name} is of classes, and the targets of these data are numbers"
    if classes is not None and target.name in _OF_NUMBERS:
        return f"{target.name} is of numbers, and the targets of these data are {classes} classes"
    return None


def dotted(target: Target, catalogue: Mapping[str, str]) -> str:
    """The dotted path of a function of the catalogue or of the user's own."""
    return target.name if target.own else catalogue[target.name]


def build(target: Target, catalogue: Mapping[str, str], what: str) -> Measure:
    """The function itself. Raises UserError when the user's cannot be imported."""
    function: Measure = load_target(dotted(target, catalogue), what)
    return partial(function, **target.arguments) if target.arguments else function
