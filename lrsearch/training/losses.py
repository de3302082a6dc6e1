"""Losses and metrics by name: functions of (outputs, targets) that return the mean over a batch."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from lrsearch.errors import UserError
from lrsearch.parameters import Parameter
from lrsearch.registry import Component, ComponentConfig, Registry
from lrsearch.targets import call_own, check_arguments, load_target
from lrsearch.training import shapes

if TYPE_CHECKING:
    import torch

    Measure = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    Fit = Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
    Measures = Mapping[str, "MeasureComponent"]


@dataclass(frozen=True)
class MeasureComponent(Component):
    """A loss or a metric: a function of (outputs, targets)."""

    of: Literal["classes", "numbers", "both"] = "numbers"
    """The targets that it is of. What takes both has the classes' probabilities as numbers."""
    fit: str = "numbers"
    """The function of `training.shapes` that puts the shapes right."""


_CLASSES: dict[str, Any] = {"of": "classes", "fit": "class_indices"}
LOSSES = Registry(
    "loss",
    [
        MeasureComponent(
            "cross_entropy",
            "torch.nn.functional.cross_entropy",
            {
                "ignore_index": Parameter("int", -100, help="a class that does not count"),
                "label_smoothing": Parameter(
                    "float", 0.0, 0.0, 1.0, help="share of the target spread over all classes"
                ),
            },
            "cross-entropy of classes, or of their probabilities",
            of="both",
            fit="class_targets",
        ),
        MeasureComponent(
            "mse", "torch.nn.functional.mse_loss", help="mean squared error of numbers"
        ),
        MeasureComponent("l1", "torch.nn.functional.l1_loss", help="mean absolute error"),
        MeasureComponent(
            "smooth_l1",
            "torch.nn.functional.smooth_l1_loss",
            {
                "beta": Parameter(
                    "float", 1.0, 0.0, help="the error from which on it is absolute, not squared"
                )
            },
            "squared near 0, absolute beyond",
        ),
        MeasureComponent(
            "bce_with_logits",
            "torch.nn.functional.binary_cross_entropy_with_logits",
            help="binary cross-entropy of each output",
        ),
    ],
    where="train.loss",
    leading=2,
)
METRICS = Registry(
    "metric",
    [
        MeasureComponent(
            "accuracy",
            "lrsearch.training.losses.accuracy",
            help="share of samples whose highest output is the class",
            **_CLASSES,
        ),
        MeasureComponent(
            "top5_accuracy",
            "lrsearch.training.losses.top5_accuracy",
            help="share of samples whose class is among the five highest outputs",
            **_CLASSES,
        ),
        MeasureComponent("mae", "torch.nn.functional.l1_loss", help="mean absolute error"),
    ],
    where="train.metrics",
    leading=2,
)


def accuracy(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Share of samples whose highest output is the target's class."""
    return (outputs.argmax(dim=1) == targets).float().mean()


def top5_accuracy(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Share of samples whose class is among the five highest outputs."""
    best = outputs.topk(min(5, outputs.shape[1]), dim=1).indices
    return (best == targets[:, None]).any(dim=1).float().mean()


def loss_target(loss: ComponentConfig | None, classes: int | None) -> ComponentConfig:
    """The loss that is meant: by default cross-entropy for classes, squared error for numbers."""
    return loss or ComponentConfig("mse" if classes is None else "cross_entropy")


def metric_targets(
    metrics: Mapping[str, ComponentConfig] | None, classes: int | None
) -> dict[str, ComponentConfig]:
    """The metrics that are meant: by default accuracy for classes, none for numbers."""
    if metrics is None:
        return {} if classes is None else {"accuracy": ComponentConfig("accuracy")}
    return dict(metrics)


def misfit(
    target: ComponentConfig, registry: Measures, classes: int | None, numbers: int
) -> str | None:
    """Why a loss or metric by name says nothing of such targets; None where it does.

    `classes` is None where the targets are numbers, `numbers` of them for a sample.
    """
    if target.own:
        return None
    of = registry[target.name].of
    if classes is None and of == "both" and numbers == 1:
        return (
            f"{target.name} is of classes, and the targets of these data are floating-point "
            f"numbers: return classes as whole numbers, `y.long()`"
        )
    if classes is None and of == "classes":
        return f"{target.name} is of classes, and the targets of these data are numbers"
    if classes is not None and of == "numbers":
        return f"{target.name} is of numbers, and the targets of these data are {classes} classes"
    return None


def build(target: ComponentConfig, registry: Measures, what: str) -> Measure:
    """The measure as a function of (outputs, targets).

    One by name first puts the shapes right; the user's own gets what there is. A class of
    the user's, such as `torch.nn.MSELoss`, is instantiated with its arguments. Raises UserError,
    beginning with `what`, when it cannot be imported or does not take its arguments.
    """
    function = load_target(target.target or registry[target.name].path, what)
    if inspect.isclass(function):
        check_arguments(function, target.arguments, what)
        measure: Measure = call_own(function, target.name, **target.arguments)
        if not callable(measure):
            raise UserError(f"{what}: a {target.name} cannot be called with (outputs, targets)")
        return measure
    check_arguments(function, target.arguments, what, positional=2)
    if target.own:
        return partial(function, **target.arguments) if target.arguments else function
    return Fitted(function, fit_of(registry[target.name]), target.arguments, what)


def fit_of(measure: MeasureComponent) -> Fit:
    """How a measure by name has outputs and targets put right."""
    fit: Fit = getattr(shapes, measure.fit)
    return fit


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
