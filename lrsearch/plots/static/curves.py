"""Curves of a trial over epochs: learning rate, losses and metric."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lrsearch.analysis.group_rates import group_rates
from lrsearch.text.formatting import number

if TYPE_CHECKING:
    from lrsearch.analysis.study_data import TrialData
    from lrsearch.evaluation import Evaluation


@dataclass(frozen=True)
class Curve:
    """One line: finite points only."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    joined: bool = True
    """Whether what lies between two points is known to be on the line between them."""


RATES_NOTE = "rates as held at the start and end of each evaluation; `preview` draws every step"


def rate_curve(trial: TrialData, name: str = "lr") -> Curve:
    """The learning rate over epochs: where each stretch between evaluations begins and ends.

    In between it is not recorded: a warm-up or a cut there is not to be drawn as a line.
    """
    x: list[float] = []
    y: list[float] = []
    before = 0.0
    for evaluation in trial.curve:
        x += [before, evaluation.epoch]
        y += [evaluation.lr_start[0], evaluation.lr_end[0]]
        before = evaluation.epoch
    return Curve(name, x, y, joined=False)


def rate_curves(trial: TrialData) -> list[Curve]:
    """The rates of all parameter groups over epochs, the schedule's own first.

    Groups whose rates are the same make one curve.
    """
    rates = group_rates(trial)
    if len(rates) == 1:
        return [rate_curve(trial)]
    x = rate_curve(trial).x
    return [
        Curve(name, x, [rate for pair in pairs for rate in pair], joined=False)
        for name, pairs in rates.items()
    ]


def rates_title(trial: TrialData, between: str = ", ") -> str:
    """Title of a learning-rate plot, with the recipe's peak rate."""
    peak = "" if trial.recipe is None else f"{between}peak {number(trial.recipe.lr)}"
    return f"learning rate{peak}"


def value_curve(
    trial: TrialData, read: Callable[[Evaluation], float | None], name: str = "value"
) -> Curve:
    """A value of each evaluation over epochs; those that are missing or not finite are left out."""
    known = [
        (evaluation.epoch, value)
        for evaluation in trial.curve
        if (value := read(evaluation)) is not None
    ]
    finite = [(x, y) for x, y in known if math.isfinite(y)]
    return Curve(name, [x for x, _ in finite], [y for _, y in finite])


def loss_curves(trial: TrialData) -> list[Curve]:
    """Training and validation loss; those that have any point."""
    curves = [
        value_curve(trial, lambda evaluation: evaluation.train_loss, "train loss"),
        value_curve(trial, lambda evaluation: evaluation.val_loss, "validation loss"),
    ]
    return [curve for curve in curves if curve.x]
