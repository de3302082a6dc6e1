"""The learning rates of a trial at every step, against the share of its training.

The evaluations of a trial record the rates that the optimizer held when it was evaluated. Those in
between follow from its recipe. They are drawn where the recipe agrees with all that is recorded.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lrsearch.analysis.group_rates import group_rates
from lrsearch.errors import LrsearchError
from lrsearch.parameters.durations import Duration, Length

if TYPE_CHECKING:
    from lrsearch.analysis.study_data import StudyData, TrialData
    from lrsearch.recipe import Recipe

Array = NDArray[np.float64]

_MOST_STEPS = 100_000
"""Steps of a training whose rates are computed one by one; of a longer one every second, ..."""
_RELATIVE, _OF_PEAK = 1e-3, 1e-6
"""Largest difference of rates that counts as none: a share of the rate, and one of the peak.

An optimizer that keeps its rates in float32 adds up such errors.
"""
_NOMINAL_STEPS = 10_000
"""Assumed steps of a training whose own loop does not report them."""
_NOMINAL_SLACK = 0.01
"""Share of such a training by which a rate may come earlier or later: steps are rounded."""
_ROUNDING = 1e-9
_MOST_SKIPPED = 200
"""Steps of a training with `amp=fp16` that may have been skipped."""
_PLATEAU = "plateau"
_OWN_CODE = "the schedule is your own code, which is not run to draw it"
_UNKNOWN_LENGTH = "the length of the training is not known"
_OTHER_RATES = "they are not those of the recipe's schedule"
_PEAK = "the loop reports none, or holds the peak throughout"
_CUTS = "at which step the rate was cut is not recorded"


@dataclass(frozen=True)
class GroupCurve:
    """The learning rates of a parameter group, or of several with the same rates."""

    name: str
    shares: Sequence[float]
    """Shares of the training at the recorded rates: at the start and end of each evaluation."""
    rates: Sequence[float]
    """The recorded rates."""
    line_shares: Array
    """Shares of the training at each step; empty where the rates in between are not known."""
    line_rates: Array
    """The rate at each step, up to the last one that was trained."""


@dataclass(frozen=True)
class LrCurve:
    """The learning rates of a trial."""

    groups: tuple[GroupCurve, ...]
    """Those of its parameter groups, the first group's first; empty where nothing is known."""
    doubt: str | None
    """Why the rates between evaluations are not known; None where they are."""
    has_steps: bool = True
    """Whether the number of steps is known; if not, lines follow the recipe by shares alone."""


def shares_of(study: StudyData, trial: TrialData) -> list[float]:
    """The share of the whole training that is done at each evaluation of a trial."""
    return _Extent.of(study, trial).shares(trial)


def lr_curve(study: StudyData, trial: TrialData) -> LrCurve:
    """Compute the learning rates of a trial at every step from its recipe and its record."""
    extent = _Extent.of(study, trial)
    line, doubt = _line(extent, trial)
    shares = [0.0, *extent.shares(trial)]
    at = [share for pair in pairwise(shares) for share in pair]
    recorded = group_rates(trial) if trial.curve else {"default": []}
    lead = next(iter(recorded.values()))
    groups = []
    for name, pairs in recorded.items():
        factor = _ratio(pairs, lead)
        is_known = line is not None and factor is not None
        groups.append(
            GroupCurve(
                name,
                at,
                [rate for pair in pairs for rate in pair],
                line[0] if line is not None and is_known else np.empty(0),
                line[1] * factor if line is not None and factor is not None else np.empty(0),
            )
        )
        if line is not None and factor is None:
            doubt = _OTHER_RATES
    if doubt == _OTHER_RATES and extent.is_own_loop and _holds_peak(trial):
        doubt = _PEAK
    if not trial.curve and line is None:
        return LrCurve((), doubt)
    return LrCurve(tuple(groups), doubt, extent.length is None or extent.length.has_steps)


@dataclass(frozen=True)
class _Extent:
    """What counts as the progress of a trial's training, and its length in steps."""

    whole: float
    """The whole training in `unit`."""
    unit: str
    """`step` or `epoch`."""
    length: Length | None
    """Length in optimizer steps, of each fold; None where it is not known."""
    folds: int
    is_own_loop: bool
    most_skipped: int = 0
    """Steps that the scaler of half-precision gradients may have skipped."""

    @classmethod
    def of(cls, study: StudyData, trial: TrialData) -> _Extent:
        train = study.config.get("train") or {}
        last = trial.curve[-1] if trial.curve else None
        steps = train.get("steps")
        epochs = float(train.get("epochs") or (last.epoch if last else 1.0))
        if study.config.get("objective") is not None:
            length = _own_length(trial, steps, epochs)
            whole, unit = (epochs, "epoch") if steps is None else (steps, "step")
            return cls(whole, unit, length, 1, is_own_loop=True)
        folds = int((study.config.get("data") or {}).get("folds") or 1)
        every = train.get("eval_every")
        n_train = (study.record.get("data") or {}).get("n_train")
        length = _length(trial, steps, epochs, every, n_train)
        if length is None:
            return cls(epochs * folds, "epoch", None, folds, is_own_loop=False)
        skipped = 0 if train.get("amp") != "fp16" or folds > 1 else _MOST_SKIPPED
        return cls(length.steps * folds, "step", length, folds, False, skipped)

    def shares(self, trial: TrialData) -> list[float]:
        """The share of the training at each evaluation."""
        return [getattr(evaluation, self.unit) / self.whole for evaluation in trial.curve]


def _length(
    trial: TrialData, steps: int | None, epochs: float, every: Any, n_train: int | None
) -> Length | None:
    """The length of one of lrsearch's own trainings; None where it is not known."""
    if trial.recipe is None:
        return None
    batch = trial.recipe.batch_size
    if trial.curve:
        # Which says it for data whose number of samples is tuned, too.
        per_epoch = round(trial.curve[-1].step / trial.curve[-1].epoch)
    elif n_train is not None:
        per_epoch = max(1, n_train // batch)
    elif steps is not None:
        per_epoch = steps
    else:
        return None
    return Length.of(
        n_train=per_epoch * batch,
        batch_size=batch,
        epochs=epochs,
        steps=steps,
        eval_every=None if every is None else Duration.parse(every),
    )


def _own_length(trial: TrialData, steps: int | None, epochs: float) -> Length | None:
    """The length of a training loop of the user's own, by what it has reported."""
    if not trial.curve:
        return None
    last = trial.curve[-1]
    if steps is not None:
        per_epoch = last.step / last.epoch if last.epoch > 0 else steps
        return Length.of(steps=steps, epochs=steps / per_epoch)
    if last.epoch <= 0:
        return None
    # Where no step is reported, reports are counted instead.
    if all(row.step == row.index for row in trial.curve):
        per_epoch = math.ceil(_NOMINAL_STEPS / epochs)
        steps = max(1, round(per_epoch * epochs))
        return Length(steps, per_epoch, per_epoch, has_steps=False)
    return Length.of(steps=max(1, round(last.step * epochs / last.epoch)), epochs=epochs)


def _line(extent: _Extent, trial: TrialData) -> tuple[tuple[Array, Array] | None, str | None]:
    """The shares and the rates of the first group at every step, or why they are not known."""
    recipe, length = trial.recipe, extent.length
    if recipe is None:
        return None, "there is no recipe yet"
    if recipe.scheduler.target is not None:
        return None, _OWN_CODE
    if length is None:
        return None, _UNKNOWN_LENGTH
    if recipe.scheduler.name == _PLATEAU:
        return _plateau_line(extent, length, trial, recipe)
    is_rough = length.steps > _MOST_STEPS
    try:
        rates = recipe.rates(length.rough(_MOST_STEPS) if is_rough else length)
    except (ArithmeticError, ValueError, LrsearchError):
        return None, _OTHER_RATES  # such as epochs where their length is not known
    if rates is None:
        return None, _OTHER_RATES
    slack = 2 if is_rough else int(extent.is_own_loop)
    if not length.has_steps:
        slack = round(_NOMINAL_SLACK * length.steps)
    last = len(rates) - 1
    at = np.arange(last + 1)
    lag = 0
    before = 0
    for evaluation, share in zip(trial.curve, extent.shares(trial), strict=True):
        position = round(_within_fold(min(share, 1.0) * extent.folds) * last, 3)
        first, end = math.floor(position), math.ceil(position)
        least = lag
        while _differs(
            evaluation.lr_end[0],
            rates[max(0, first - lag - slack) : end - lag + 1 + slack],
            recipe.lr,
        ):
            lag += 1
            if lag > min(extent.most_skipped, first - before + least):
                return None, _OTHER_RATES
        if lag > least:
            # The gradients of so many steps were not finite: neither they nor the schedule's
            # steps were taken. Where in the stretch is not recorded, most often at its beginning.
            at[before + 1 :] = np.maximum(at[before], np.arange(before + 1, last + 1) - lag)
        before = first
    within = np.arange(last + 1) / last
    shares = np.concatenate([(within + fold) / extent.folds for fold in range(extent.folds)])
    return _until(_end(extent, trial), shares, np.tile(rates[at], extent.folds)), None


def _plateau_line(
    extent: _Extent, length: Length, trial: TrialData, recipe: Recipe
) -> tuple[tuple[Array, Array] | None, str | None]:
    """The warm-up, then the rates that are recorded: they change at evaluations alone."""
    if extent.is_own_loop:
        return None, _CUTS
    if [row.index for row in trial.curve] != [*range(1, len(trial.curve) + 1)]:
        return None, "not all evaluations were read"
    rates = recipe.rates(length)
    assert rates is not None, "a plateau has a formula"
    warmup = length.warmup_steps(Duration.parse(recipe.warmup))
    steps: list[NDArray[np.int64]] = []
    held: list[Array] = []
    before = 0
    for row in trial.curve:
        fold = (row.step - 1) // length.steps
        first, last = before - fold * length.steps, row.step - fold * length.steps
        at = np.arange(first, last + 1)
        ramp = rates[first : last + 1].copy()
        ramp[at >= warmup] = row.lr_end[0]
        if _differs(row.lr_end[0], ramp[-1:], recipe.lr) or _differs(
            row.lr_start[0], ramp[:1], recipe.lr
        ):
            return None, _OTHER_RATES
        steps.append(at + fold * length.steps)
        held.append(ramp)
        before = row.step
    end = round(_end(extent, trial) * extent.whole)
    if end > before:  # trained on after the last evaluation
        level = trial.end_lr
        if level is None:
            level = trial.curve[-1].lr_end[0] if trial.curve else recipe.lr
        at = np.arange(before, min(end, length.steps) + 1)
        ramp = rates[at]
        ramp[at >= warmup] = level
        steps.append(at)
        held.append(ramp)
    if not steps:
        return None, None
    return (np.concatenate(steps) / extent.whole, np.concatenate(held)), None


def _end(extent: _Extent, trial: TrialData) -> float:
    """The share of the training at the last step that is known to have been trained."""
    last = extent.shares(trial)[-1] if trial.curve else 0.0
    # In cross-validation it counts the steps of one fold.
    if trial.end_step is not None and extent.unit == "step" and extent.folds == 1:
        last = max(last, trial.end_step / extent.whole)
    return last


def _until(end: float, shares: Array, rates: Array) -> tuple[Array, Array] | None:
    """The part of a line up to a share of the training; None where it is a point."""
    count = int(np.searchsorted(shares, end + 0.5 / max(1, len(shares)), side="right"))
    # A share that is met twice, at the end of a fold, ends the first one.
    if count > 1 and shares[count - 1] == shares[count - 2]:
        count -= 1
    return None if count < 2 else (shares[:count], rates[:count])


def _within_fold(share: float) -> float:
    """The share of its fold that is done, of a share in folds: 1 at the end of one."""
    return share - max(0, math.ceil(share - _ROUNDING) - 1)


def _differs(held: float, expected: Array, peak: float) -> bool:
    """Whether a rate is outside of those expected."""
    low, high = float(expected.min()), float(expected.max())
    tolerance = _RELATIVE * high + _OF_PEAK * peak
    return not low - tolerance <= held <= high + tolerance


def _holds_peak(trial: TrialData) -> bool:
    """Whether all recorded rates are the recipe's peak, as those of a loop that reports none."""
    peak = None if trial.recipe is None else trial.recipe.lr
    return all({*row.lr_start, *row.lr_end} == {peak} for row in trial.curve)


def _ratio(
    pairs: Sequence[tuple[float, float]], lead: Sequence[tuple[float, float]]
) -> float | None:
    """The constant ratio of a group's rates to the first group's; None where it is not constant."""
    rates = np.array(pairs, float).reshape(-1)
    of_lead = np.array(lead, float).reshape(-1)
    if not len(rates) or not of_lead.any():
        return 1.0
    at = int(of_lead.argmax())
    ratio = float(rates[at] / of_lead[at])
    tolerance = _RELATIVE * np.abs(rates) + _OF_PEAK * max(rates.max(), of_lead.max())
    return ratio if bool((np.abs(of_lead * ratio - rates) <= tolerance).all()) else None
