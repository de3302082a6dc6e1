"""Losses and metrics by name: functions of (outputs, targets) that return the mean over a batch."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from lrsearch.errors import UserError
from lrsearch.targets import call_own, check_arguments, load_target
from lrsearch.training import shapes
from lrsearch.training.settings import Target

if TYPE_CHECKING:
    import torch

    Measure = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    Fit = Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]

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
ARGUMENTS: dict[str, tuple[str, ...]] = {
    "cross_entropy": ("ignore_index", "label_smoothing"),
    "smooth_l1": ("beta",),
}
"""The arguments that a configuration can give those above; the others have none."""
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


def misfit(target: Target, classes: int | None, numbers: int) -> str | None:
    """Why a function of the catalogue says nothing of such targets; None where it does.

    `classes` is None where the targets are numbers, `numbers` of them for a sample.
    """
    if classes is None and target.name == "cross_entropy" and numbers == 1:
        return (
            "cross_entropy is of classes, and the targets of these data are floating-point "
            "numbers: return classes as whole numbers, `y.long()`"
        )
    if classes is None and target.name in _OF_CLASSES:
        return f"{target.name} is of classes, and the targets of these data are numbers"
    if classes is not None and target.name in _OF_NUMBERS:
        return f"{target.name} is of numbers, and the targets of these data are {classes} classes"
    return None


def dotted(target: Target, catalogue: Mapping[str, str]) -> str:
    """The dotted path of a function of the catalogue or of the user's own."""
    return target.name if target.own else catalogue[target.name]


def build(target: Target, catalogue: Mapping[str, str], what: str) -> Measure:
    """The measure as a function of (outputs, targets).

    One of the catalogue first puts the shapes right; the user's own gets what there is. A class of
    the user's, such as `torch.nn.MSELoss`, is instantiated with its arguments. Raises UserError,
    beginning with `what`, when it cannot be imported or does not take its arguments.
    """
    function = load_target(dotted(target, catalogue), what)
    if inspect.isclass(function):
        check_arguments(function, target.arguments, what)
        measure: Measure = call_own(function, target.name, **target.arguments)
        if not callable(measure):
            raise UserError(f"{what}: a {target.name} cannot be called with (outputs, targets)")
        return measure
    check_arguments(function, target.arguments, what, positional=2)
    if target.own:
        return partial(function, **target.arguments) if target.arguments else function
    return Fitted(function, fit_of(target.name), target.arguments, what)


def fit_of(name: str) -> Fit:
    """How a measure of the catalogue has outputs and targets put right."""
    if name == "cross_entropy":
        return shapes.class_targets
    return shapes.class_indices if name in _OF_CLASSES else shapes.numbers


class Fitted:
    """A measure of the catalogue, on outputs and targets of whatever shape means the same."""

    def __init__(
        self, function: Callable[..., Any], fit: Fit, arguments: Mapping[str, Any], what: str
    ) -> None:
        """`what` is the key of the configuration, for messages."""
        self._function, self._fit = function, fit
        self._arguments, self._what = dict(arguments), what

    def __call__(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Raises UserError, naming both shapes, where they do not fit."""
        try:
            outputs, targets = self._fit(outputs, targets)
        except ValueError as error:
            raise UserError(f"{self._what}: {error}") from None
        measured: torch.Tensor = self._function(outputs, targets, **self._arguments)
        return measured
