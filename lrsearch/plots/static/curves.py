"""Curves, their scale and their points; those of a trial over epochs."""

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
    """A curve of finite points."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    joined: bool = True
    """Whether a line may be drawn between neighbouring points; else only the points are known."""


_RATIO_FOR_LOG = 30.0
RATES_NOTE = "rates as held at the start and end of each evaluation; `preview` draws every step"


def rate_curve(trial: TrialData, name: str = "lr") -> Curve:
    """The learning rate over epochs, at the start and the end of each evaluation's steps.

    The rates in between are not recorded, so the points are not joined.
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
    """The learning rates of all parameter groups over epochs, the first group's first.

    Groups with equal rates make one curve.
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
    """The title of a learning-rate plot, with the peak rate of the recipe after `between`."""
    peak = "" if trial.recipe is None else f"{between}peak {number(trial.recipe.lr)}"
    return f"learning rate{peak}"


def value_curve(
    trial: TrialData, read: Callable[[Evaluation], float | None], name: str = "value"
) -> Curve:
    """A value of each evaluation over epochs, without missing and non-finite ones."""
    known = [
        (evaluation.epoch, value)
        for evaluation in trial.curve
        if (value := read(evaluation)) is not None
    ]
    finite = [(x, y) for x, y in known if math.isfinite(y)]
    return Curve(name, [x for x, _ in finite], [y for _, y in finite])


def value_curves(trial: TrialData, metric: str) -> tuple[str, list[Curve]]:
    """What a trial is drawn by, and its curves: the losses, or the metric where it has none.

    Curves without a point are left out.
    """
    losses = [
        value_curve(trial, lambda evaluation: evaluation.train_loss, "train loss"),
        value_curve(trial, lambda evaluation: evaluation.val_loss, "validation loss"),
    ]
    if any(curve.x for curve in losses):
        return "loss", [curve for curve in losses if curve.x]
    curve = value_curve(trial, lambda evaluation: evaluation.value, metric)
    return metric, [curve] if curve.x else []


def wants_log(curves: Sequence[Curve]) -> bool:
    """Whether curves are better drawn on a logarithmic axis.

    All values must be positive, and a quarter of them far below the highest. A few low values
    alone, such as those at the end of a cosine, do not count: they would stretch the axis.
    """
    known = sorted(y for curve in curves for y in curve.y if math.isfinite(y))
    return bool(known) and known[0] > 0 and known[-1] / known[len(known) // 4] > _RATIO_FOR_LOG


def thinned(x: Sequence[float], y: Sequence[float], most: int) -> tuple[list[float], list[float]]:
    """Keep about `most` points of a curve: the first, the last, and the extremes in between.

    The curve is divided into stretches, of which the lowest and the highest point are kept, so that
    no jump or peak is lost.
    """
    if len(x) <= most:
        return list(x), list(y)
    stretches = max(1, most // 2)
    kept = {0, len(x) - 1}
    for k in range(stretches):
        first, last = k * len(x) // stretches, (k + 1) * len(x) // stretches
        indices = range(first, last)
        kept |= {min(indices, key=y.__getitem__), max(indices, key=y.__getitem__)}
    order = sorted(kept)
    return [x[k] for k in order], [y[k] for k in order]
