"""Losses and metrics: functions of (outputs, targets) that return the mean over a batch."""

from __future__ import annotations

from collections.abc import Mapping
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
    mode: Mode = "min"
    """Whether lower values ("min") or higher ones ("max") are better."""


_CLASSES: dict[str, Any] = {"of": "classes", "fit": "class_indices", "mode": "max"}
LOSSES = Registry(
    "loss",
    [
        Measure(
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
            help="binary cross-entropy of each output",
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
            help="share of samples whose highest output is the class",
            **_CLASSES,
        ),
        Measure(
            "top5_accuracy",
            "lrsearch.measures.functions.top5_accuracy",
            help="share of samples whose class is among the five highest outputs",
            **_CLASSES,
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
    measured = name.removeprefix("val_")
    return next(
        (metric.mode for known, metric in METRICS.items() if measured.endswith(known)), None
    )


def loss_target(loss: ComponentConfig | None, classes: int | None) -> ComponentConfig:
    """The given loss, or the default: cross-entropy for classes, squared error for numbers."""
    return loss or ComponentConfig("mse" if classes is None else "cross_entropy")


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
