"""Curves, their scale and their points; those of a trial by the share of its training."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lrsearch.analysis.lr_curve import GroupCurve, lr_curve, shares_of
from lrsearch.text.formatting import number

if TYPE_CHECKING:
    from lrsearch.analysis.study_data import StudyData, TrialData
    from lrsearch.evaluation import Evaluation


@dataclass(frozen=True)
class Curve:
    """A curve of finite points."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    joined: bool = True
    """Whether a line may be drawn between neighbouring points; else only the points are known."""
    marks: tuple[Sequence[float], Sequence[float]] | None = None
    """Points on the line that are marked, such as evaluations."""
    levels: Sequence[float] | None = None
    """Values at even distances along the line; None where its points are such."""


_RATIO_FOR_LOG = 30.0
SHARE = "share of the training"
"""Label of the axis that curves of trials have in common."""
RATES_NOTE = "the rate of every step"
RECIPES_NOTE = "the recipe's rates; at which steps is not known, as the loop reports none"
_MOST_MARKS = 100
"""Points of a curve that are marked; of longer curves none."""
_LEVELS = 200
"""Rates of a curve by which the scale of its axis is chosen."""
_WHOLE = 600
"""Points of a line that need no simplification."""
_DEVIATION = (5e-3, 1e-4)
"""How far a simplified line may be from a point: a share of its value, and one of the highest."""
_MOST_VERTICES = 4000
_MOST_WORK = 25
"""How often each point is looked at; lines that need more are thousands of cycles."""


def rate_curves(study: StudyData, trial: TrialData) -> list[Curve]:
    """The learning rates of all parameter groups, the first group's first.

    Lines through the rate of every step, with the recorded rates marked; the recorded ones alone
    where those in between are not known. Groups with equal rates make one curve.
    """
    groups = lr_curve(study, trial).groups
    return [_rate_curve(group, "lr" if len(groups) == 1 else group.name) for group in groups]


def _rate_curve(group: GroupCurve, name: str) -> Curve:
    if not len(group.line_shares):
        return Curve(name, group.shares, group.rates, joined=False)
    marks = (group.shares, group.rates) if len(group.shares) <= 2 * _MOST_MARKS else None
    return rate_line(group, name, marks)


def rate_line(
    group: GroupCurve, name: str, marks: tuple[Sequence[float], Sequence[float]] | None = None
) -> Curve:
    """The line through the rates of every step, of the points that can be told apart."""
    x, y = simplified(group.line_shares, group.line_rates)
    every = math.ceil(len(group.line_rates) / _LEVELS)
    return Curve(name, x, y, marks=marks, levels=group.line_rates[::every].tolist())


def rates_note(study: StudyData, trials: Sequence[TrialData]) -> str:
    """A line that says what the learning rates are that are drawn, and why points stand alone."""
    lines = []
    for trial in trials:
        curve = lr_curve(study, trial)
        if curve.doubt is not None:
            said = f"points alone, {curve.doubt}"
        elif not curve.has_steps:
            said = RECIPES_NOTE
        else:
            continue
        lines.append(said if len(trials) == 1 else f"trial {trial.number}: {said}")
    return "; ".join(lines) or RATES_NOTE


def rates_title(trial: TrialData, between: str = ", ") -> str:
    """The title of a learning-rate plot, with the peak rate of the recipe after `between`."""
    peak = "" if trial.recipe is None else f"{between}peak {number(trial.recipe.lr)}"
    return f"learning rate{peak}"


def value_curve(
    study: StudyData,
    trial: TrialData,
    read: Callable[[Evaluation], float | None],
    name: str = "value",
) -> Curve:
    """A value of each evaluation by the share of the training, without those not finite."""
    known = [
        (share, value)
        for share, evaluation in zip(shares_of(study, trial), trial.curve, strict=True)
        if (value := read(evaluation)) is not None and math.isfinite(value)
    ]
    x, y = [share for share, _ in known], [value for _, value in known]
    return Curve(name, x, y, marks=(x, y) if len(x) <= _MOST_MARKS else None)


def value_curves(study: StudyData, trial: TrialData) -> tuple[str, list[Curve]]:
    """What a trial is drawn by, and its curves: the losses, or the metric where it has none.

    Curves without a point are left out.
    """
    losses = [
        value_curve(study, trial, lambda evaluation: evaluation.train_loss, "train loss"),
        value_curve(study, trial, lambda evaluation: evaluation.val_loss, "validation loss"),
    ]
    if any(curve.x for curve in losses):
        return "loss", [curve for curve in losses if curve.x]
    metric = study.metric.name
    curve = value_curve(study, trial, lambda evaluation: evaluation.value, metric)
    return metric, [curve] if curve.x else []


def wants_log(curves: Sequence[Curve]) -> bool:
    """Whether curves are better drawn on a logarithmic axis.

    All values must be positive, and a quarter of them far below the highest. A few low values
    alone, such as those at the end of a cosine, do not count: they would stretch the axis.
    """
    drawn = [y for curve in curves for y in curve.y if math.isfinite(y)]
    if not drawn or min(drawn) <= 0:
        return False
    levels = sorted(y for curve in curves for y in curve.levels or curve.y if math.isfinite(y))
    return max(drawn) / levels[len(levels) // 4] > _RATIO_FOR_LOG


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


def simplified(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[list[float], list[float]]:
    """Keep the points of a line from which the rest follow, as far as one can see.

    The point farthest from the line between two kept ones is kept, until none is visibly off, on a
    linear axis or, of positive values, a logarithmic one (Ramer 1972; Douglas, Peucker 1973). So no
    jump moves by a step.
    """
    if len(x) <= _WHOLE:
        return x.tolist(), y.tolist()
    relative, of_highest = _DEVIATION
    highest = max(float(np.abs(y).max()), 1e-300)
    scales = [(y, relative * np.abs(y) + of_highest * highest)]
    if y.min() > 0:
        scales.append((np.log(y), np.full(len(y), relative)))
    kept, stretches, work = {0, len(x) - 1}, [(0, len(x) - 1)], 0
    while stretches:
        first, last = stretches.pop()
        work += last - first
        if last - first < 2:
            continue
        inner = slice(first + 1, last)
        width = x[last] - x[first]
        share = (x[inner] - x[first]) / width if width > 0 else np.zeros(last - first - 1)
        off = np.zeros(last - first - 1)
        for value, allowed in scales:
            line = value[first] + (value[last] - value[first]) * share
            off = np.maximum(off, np.abs(line - value[inner]) / allowed[inner])
        farthest = int(off.argmax())
        if off[farthest] > 1:
            middle = first + 1 + farthest
            kept.add(middle)
            stretches += [(first, middle), (middle, last)]
        if len(kept) > _MOST_VERTICES or work > _MOST_WORK * len(x):
            return thinned(x.tolist(), y.tolist(), _MOST_VERTICES)
    order = sorted(kept)
    return x[order].tolist(), y[order].tolist()
