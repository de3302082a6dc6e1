"""Losses and metrics: functions of (outputs, targets) that return the mean over a batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from lrsearch.parameters.parameter import Parameter
from lrsearch.registry import Component, ComponentConfig, Registry

Mode = Literal["min", "max"]


@dataclass(frozen=True)
class Measure(Component):
    """A loss or a metric: a function of (outputs, targets)."""

    of: Literal["classes", "numbers", "both"] = "numbers"
    """The kind of targets it accepts; with "both", numbers are the probabilities of the classes."""
    fit: str = "numbers"
    """Name of the function of `measures.shapes` that reshapes outputs and targets for it."""
    divisor: str | None = None
    """Name of the function of `measures.functions` that gives what the mean over class indices is
    divided by; None for their number."""
    mode: Mode = "min"
    """Whether lower values ("min") or higher ones ("max") are better."""
    is_share: bool = False
    """Whether its values lie between 0 and 1."""
    training_only: tuple[str, ...] = ()
    """Parameters that change the loss in training and are left out where it is evaluated."""


CLASS_WEIGHTS, POS_WEIGHT = "class_weights", "pos_weight"
WEIGHTS = {
    CLASS_WEIGHTS: ("weight", "weights_like"),
    POS_WEIGHT: ("pos_weight", "pos_weights_like"),
}
"""Arguments of losses that are a list of weights or `BALANCED`. For each: the name that torch's
function has for it, and the function of `measures.functions` that fits a tensor to the outputs."""
BALANCED = "balanced"
"""Weights that are computed from the training part of the data."""

_LABELS: dict[str, Any] = {"of": "numbers", "fit": "numbers", "mode": "max", "is_share": True}
_CLASSES: dict[str, Any] = {
    "of": "classes",
    "fit": "class_indices",
    "mode": "max",
    "is_share": True,
}
LOSSES = Registry(
    "loss",
    [
        Measure(
            "cross_entropy",
            "torch.nn.functional.cross_entropy",
            {
                "ignore_index": Parameter("int", -100, help="a class that does not count"),
                "label_smoothing": Parameter(
                    "float",
                    0.0,
                    0.0,
                    1.0,
                    help="share of the target spread over all classes, in training alone",
                ),
                CLASS_WEIGHTS: Parameter(
                    "weights",
                    None,
                    help="weight of each class in training, or `balanced`: samples / (classes * "
                    "samples of the class)",
                ),
            },
            "cross-entropy of classes, or of their probabilities",
            of="both",
            fit="class_targets",
            divisor="weight_of_classes",
            training_only=("label_smoothing", CLASS_WEIGHTS),
        ),
        Measure("mse", "torch.nn.functional.mse_loss", help="mean squared error of numbers"),
        Measure("l1", "torch.nn.functional.l1_loss", help="mean absolute error"),
        Measure(
            "smooth_l1",
            "torch.nn.functional.smooth_l1_loss",
            {
                "beta": Parameter(
                    "float", 1.0, 0.0, help="the error from which on it is absolute, not squared"
                )
            },
            "squared near 0, absolute beyond",
        ),
        Measure(
            "bce_with_logits",
            "torch.nn.functional.binary_cross_entropy_with_logits",
            {
                POS_WEIGHT: Parameter(
                    "weights",
                    None,
                    help="weight of the ones of each output in training, or `balanced`: zeros / "
                    "ones",
                )
            },
            "binary cross-entropy of each output, for several labels at once",
            training_only=(POS_WEIGHT,),
        ),
    ],
    where="train.loss",
    leading=2,
)
METRICS = Registry(
    "metric",
    [
        Measure(
            "accuracy",
            "lrsearch.measures.functions.accuracy",
            {"ignore_index": Parameter("int", -100, help="a class that does not count")},
            help="share of samples, or of pixels, whose highest output is the class",
            **_CLASSES,
        ),
        Measure(
            "top5_accuracy",
            "lrsearch.measures.functions.top5_accuracy",
            help="share of samples whose class is among the five highest outputs",
            **_CLASSES,
        ),
        Measure(
            "label_accuracy",
            "lrsearch.measures.functions.label_accuracy",
            help="share of labels (zeros and ones) that the sign of the output tells",
            **_LABELS,
        ),
        Measure(
            "sample_f1",
            "lrsearch.measures.functions.sample_f1",
            help="F1 of the labels of each sample, as the sign of the outputs tells them",
            **_LABELS,
        ),
        Measure("mae", "torch.nn.functional.l1_loss", help="mean absolute error"),
    ],
    where="train.metrics",
    leading=2,
)


def is_loss(name: str) -> bool:
    """Whether a value is a loss by its name, such as `val_loss`: not finite, it has diverged."""
    return name.endswith("loss")


def mode_of(name: str) -> Mode | None:
    """The mode of a value such as `val_loss` or `val_accuracy`; None if its name is not known."""
    if is_loss(name):
        return "min"
    metric = _metric_of(name)
    return None if metric is None else metric.mode


def is_share(name: str) -> bool:
    """Whether a value such as `val_accuracy` lies between 0 and 1 by its name."""
    metric = _metric_of(name)
    return metric is not None and metric.is_share


def has_listed_loss(config: Mapping[str, Any]) -> bool:
    """Whether a study trains and evaluates with a loss of the catalogue, by its configuration."""
    train = config.get("train") or {}
    if config.get("objective") or train.get("loss_step") or train.get("evaluate"):
        return False
    return not train.get("loss") or not ComponentConfig.from_dict(train["loss"]).own


def limits(name: str, values: Iterable[float], is_listed: bool = False) -> tuple[float, float]:
    """The least and the greatest that a value such as `val_loss` can be, so far as it is known.

    A share lies between 0 and 1, unless `values` of it say otherwise, and a loss of the catalogue
    is not below 0. `is_listed` says that losses are of the catalogue.
    """
    if is_share(name) and all(0 <= value <= 1 for value in values):
        return 0.0, 1.0
    if is_loss(name) and is_listed:
        return 0.0, math.inf
    return -math.inf, math.inf


def _metric_of(name: str) -> Measure | None:
    """The metric of the catalogue that a value such as `val_accuracy` is of; None if of none."""
    return next((metric for known, metric in METRICS.items() if name.endswith(known)), None)


def loss_target(
    loss: ComponentConfig | None, classes: int | None, labels: bool = False
) -> ComponentConfig:
    """The given loss, or the default one for the targets.

    That is cross-entropy for classes, binary cross-entropy for `labels` (several zeros and ones for
    each sample), and the squared error for other numbers.
    """
    if loss is not None:
        return loss
    if classes is not None:
        return ComponentConfig("cross_entropy")
    return ComponentConfig("bce_with_logits" if labels else "mse")


def evaluated_loss(loss: ComponentConfig) -> ComponentConfig:
    """The loss as it is evaluated: without arguments that are of training alone."""
    if loss.own:
        return loss
    left_out = LOSSES[loss.name].training_only
    kept = {name: value for name, value in loss.arguments.items() if name not in left_out}
    return ComponentConfig(loss.name, kept)


def with_weights(loss: ComponentConfig, balanced: Callable[[], list[float]]) -> ComponentConfig:
    """The loss with the list that `balanced` returns in place of the word."""
    if loss.own or not any(loss.arguments.get(name) == BALANCED for name in WEIGHTS):
        return loss
    weights = balanced()
    arguments = {
        name: weights if name in WEIGHTS and value == BALANCED else value
        for name, value in loss.arguments.items()
    }
    return ComponentConfig(loss.name, arguments)


def metric_targets(
    metrics: Mapping[str, ComponentConfig] | None, classes: int | None
) -> dict[str, ComponentConfig]:
    """The given metrics by name, or the default: accuracy for classes, none for numbers."""
    if metrics is None:
        return {} if classes is None else {"accuracy": ComponentConfig("accuracy")}
    return dict(metrics)


def misfit(
    target: ComponentConfig, registry: Mapping[str, Measure], classes: int | None, numbers: int
) -> str | None:
    """Why a loss or metric of the catalogue does not fit such targets; None if it does.

    `classes` is the number of classes, or None for targets of `numbers` numbers for each sample.
    """
    if target.own:
        return None
    of = registry[target.name].of
    weights = {name: target.arguments.get(name) for name in (CLASS_WEIGHTS, POS_WEIGHT)}
    if classes is None and of == "both" and numbers == 1:
        return (
            f"{target.name} is of classes, and the targets of these data are floating-point "
            f"numbers: return classes as whole numbers, `y.long()`"
        )
    if classes is None and of == "classes":
        return f"{target.name} is of classes, and the targets of these data are numbers"
    if classes is not None and of == "numbers":
        return f"{target.name} is of numbers, and the targets of these data are {classes} classes"
    for name, value in weights.items():
        if isinstance(value, list | tuple) and len(value) != (classes or numbers):
            there = f"{classes} classes" if classes else f"{numbers} numbers for each sample"
            return f"{name} has {len(value)} weights, and the targets of these data are {there}"
    return None
