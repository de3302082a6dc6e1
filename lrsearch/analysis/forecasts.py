"""Forecasts of the values that pruned trials would have had at the end of their training."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lrsearch.analysis.study_data import StudyData, TrialData, shown_curves
from lrsearch.states import Outcome
from lrsearch.tuning.forecast import Forecaster, Scale, Standing, earlier_moment
from lrsearch.tuning.trajectory import Rates

Array = NDArray[np.float64]

_ROUNDING = 6
"""Decimals of a share of a training by which trials count as pruned at the same moment."""


def forecasts(study: StudyData) -> Mapping[int, float]:
    """Return the forecast final value of each pruned trial, by trial number.

    The forecast is the pruner's own: from the complete trials at the same share of their training.
    It is never better than the best complete trial, since a value that nobody has seen is no
    record. Trials without a finite value are left out, and all where no trial is complete.
    """
    sign = 1.0 if study.metric.mode == "min" else -1.0
    shown = {trial.number for trial in shown_curves(study)}
    finals = [sign * (trial.value or 0.0) for trial in study.by_value]
    peers = [
        (course, sign * (trial.value or 0.0))
        for trial in study.by_value
        if trial.number in shown and (course := _Course.of(trial, sign))
    ]
    pruned = {
        trial.number: course
        for trial in study.trials
        if trial.outcome == Outcome.PRUNED and (course := _Course.of(trial, sign))
    }
    if not peers or not pruned:
        return {}
    scale = Scale([*finals, *(course.values[-1] for course in pruned.values())])
    at_moment: dict[tuple[float, int], list[int]] = defaultdict(list)
    for number, course in pruned.items():
        at_moment[round(course.end, _ROUNDING), course.evaluations].append(number)
    forecast: dict[int, float] = {}
    for (progress, evaluations), numbers in at_moment.items():
        spacing = progress / evaluations
        there = [(course, final) for course, final in peers if course.reaches(progress, spacing)]
        if not there:
            continue
        standings = [course.standing(progress, spacing) for course, _ in there]
        forecaster = Forecaster(scale, progress, standings, [final for _, final in there])
        for number in numbers:
            standing = pruned[number].standing(progress, spacing)
            value = max(scale.value(forecaster(standing).mean), finals[0])
            forecast[number] = sign * value
    return {number: forecast[number] for number in pruned if number in forecast}


@dataclass(frozen=True)
class _Course:
    """The values of a trial by the share of its training; smaller is better."""

    progress: Array
    values: Array
    now: Array
    """Learning rates at the evaluations."""
    left: Array | None
    """`Rates.left` at the evaluations; None where it is not known."""
    evaluations: int
    """Number of the last evaluation."""
    peak: float
    batch_size: int
    optimizer: str

    @classmethod
    def of(cls, trial: TrialData, sign: float) -> _Course | None:
        """Return the course of a trial; None where it has no recipe or no finite value."""
        points = [
            (point.progress, sign * point.value, point)
            for point in trial.curve
            if point.progress and point.value is not None
        ]
        if trial.recipe is None or not points:
            return None
        evaluations = [point for _, _, point in points]
        left = [point.rate_left for point in evaluations]
        return cls(
            progress=np.array([progress for progress, _, _ in points]),
            values=np.array([value for _, value, _ in points]),
            now=np.array([point.lr_end[0] for point in evaluations]),
            left=None if None in left else np.array(left, float),
            evaluations=evaluations[-1].index,
            peak=trial.recipe.lr,
            batch_size=trial.recipe.batch_size,
            optimizer=trial.recipe.optimizer.name,
        )

    @property
    def end(self) -> float:
        """Share of the training at the last value."""
        return float(self.progress[-1])

    def reaches(self, progress: float, spacing: float) -> bool:
        """Return whether the trial has values around a share of its training."""
        half = spacing / 2
        return bool(self.progress[0] < progress + half and self.progress[-1] > progress - half)

    def standing(self, progress: float, spacing: float) -> Standing:
        """Return the standing at a share of the training, interpolated between evaluations."""
        before, now = np.interp(
            [earlier_moment(progress, spacing), progress], self.progress, self.values
        )
        return Standing(float(now), float(before), self._rates(progress))

    def _rates(self, progress: float) -> Rates | None:
        if self.left is None:
            return None
        now, left = (float(np.interp(progress, self.progress, of)) for of in (self.now, self.left))
        return Rates(now, left, self.peak, self.batch_size, self.optimizer)
