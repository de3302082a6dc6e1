"""Values of settings, observed or forecast, from the trials of a study so far."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from lrsearch.states import Outcome
from lrsearch.tuning.forecast import Forecaster, History, Scale

_MOMENTS = 20
"""Number of moments of a training at which unfinished trials are forecast.

Fewer than the evaluations, so that many trials share a forecaster.
"""
_BROKEN = (Outcome.DIVERGED, Outcome.OUT_OF_MEMORY)
"""Outcomes of settings that cannot be trained."""


@dataclass(frozen=True)
class Observed:
    """A setting with its value on a `Scale`, and the variance of that value."""

    parameters: Mapping[str, Any]
    value: float
    variance: float = 0.0
    """0 for a complete trial."""


@dataclass(frozen=True)
class Observations:
    """All that a sampler learns from."""

    known: Sequence[Observed]
    """Complete trials, and the forecasts of pruned and running ones."""
    best: float
    """The smallest value of a complete trial, on the same scale."""
    broken: Sequence[Mapping[str, Any]]
    """Settings that diverged or ran out of memory."""
    unknown: Sequence[Mapping[str, Any]]
    """Settings of running trials without a forecast."""


def observe(
    trials: Sequence[FrozenTrial], direction: StudyDirection, history: History
) -> Observations | None:
    """Return the observations of a study; None before any trial is complete."""
    sign = -1.0 if direction == StudyDirection.MAXIMIZE else 1.0
    finals = {
        trial.number: sign * trial.value
        for trial in trials
        if trial.state == TrialState.COMPLETE and trial.value is not None
    }
    if not finals:
        return None
    broken = [trial for trial in trials if trial.user_attrs.get("status") in _BROKEN]
    skipped = {*finals, *(trial.number for trial in broken)}
    incomplete = [
        trial
        for trial in trials
        if trial.number not in skipped
        and trial.state in (TrialState.PRUNED, TrialState.RUNNING, TrialState.WAITING)
        and trial.params
    ]
    latest = [sign * value for trial in incomplete if (value := _latest(trial)) is not None]
    scale = Scale([*finals.values(), *latest])
    forecasts = _forecasts(scale, history)
    values = dict(zip(finals, scale(list(finals.values())), strict=True))
    known = [
        Observed(trial.params, float(values[trial.number]))
        for trial in trials
        if trial.number in finals
    ]
    known += [
        Observed(trial.params, *forecasts[trial.number])
        for trial in incomplete
        if trial.number in forecasts
    ]
    unknown = [
        trial.params
        for trial in incomplete
        if trial.number not in forecasts and trial.state == TrialState.RUNNING
    ]
    best = float(min(values.values()))
    return Observations(known, best, [trial.params for trial in broken], unknown)


def _latest(trial: FrozenTrial) -> float | None:
    value = trial.intermediate_values[trial.last_step] if trial.last_step is not None else None
    return value if value is not None and math.isfinite(value) else None


def _forecasts(scale: Scale, history: History) -> dict[int, tuple[float, float]]:
    """Return mean and variance of the final value of each incomplete trial, by its number."""
    at_moment: dict[tuple[int, int], set[int]] = {}
    for number, (evaluation, evaluations) in history.reached().items():
        moment = _moment(evaluation, evaluations)
        if moment:
            at_moment.setdefault((moment, evaluations), set()).add(number)
    forecasts: dict[int, tuple[float, float]] = {}
    for (evaluation, evaluations), numbers in at_moment.items():
        progress = evaluation / evaluations
        peers = history.at(progress, 1 / evaluations)
        complete = [(peer.standing, peer.final) for peer in peers if peer.final is not None]
        if not complete:
            continue
        standings, finals = zip(*complete, strict=True)
        forecaster = Forecaster(scale, progress, standings, finals)
        for peer in peers:
            if peer.number in numbers:
                forecast = forecaster(peer.standing)
                forecasts[peer.number] = forecast.mean, forecast.error**2
    return forecasts


def _moment(evaluation: int, evaluations: int) -> int:
    """Return the last evaluation so far at which trials are forecast; 0 for none."""
    passed = evaluation * _MOMENTS // evaluations
    return math.floor(passed * evaluations / _MOMENTS) if passed else 0
