"""Where the best and the last evaluation of the leading trials differ by more than noise."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lrsearch.analysis.lr_curve import lr_curve, shares_of
from lrsearch.analysis.noise import confirmed_noise, seed_noise
from lrsearch.analysis.study_data import StudyData, TrialData
from lrsearch.parameters.durations import Duration
from lrsearch.settings import MetricSettings, Settings

LEADERS = 5
"""Number of best trials that are looked at; with a confirmation, its candidates."""
NOISY = 2 * math.sqrt(2.0)
"""Standard deviations of the noise between seeds that two evaluations must differ by: twice that of
the difference of two independent values."""
SHARE_OF_GAIN = 0.1
"""Where the noise is not known: the share that must be lost again of what the training gained from
its first to its best evaluation. A rule of thumb."""

_ROUNDING = 1e-6
"""A difference, over the value, that is no more than the rounding of the losses, or no matter.

Where seeds change nothing, their noise is smaller still.
"""

Phase = Literal["warm-up", "rise", "constant", "cut", "decay"]
"""What the learning rate did just before an evaluation; `cut` is a constant rate below the peak."""


@dataclass(frozen=True)
class TwoEvaluations:
    """The best and the last evaluation of a trial."""

    trial: int
    best: float
    last: float
    epoch: float
    """Epochs at the best evaluation."""
    last_epoch: float
    """Epochs at the last evaluation."""
    share: float
    """Share of the planned training that was done at the best evaluation."""
    phase: Phase | None
    """None where the learning rates are not known."""
    differs: bool
    """Whether the two differ by more than noise, or by more than the rule of thumb."""


@dataclass(frozen=True)
class BestAndLast:
    """The best against the last evaluation of the recommended trial and of the other leaders."""

    metric: MetricSettings
    deviation: float | None
    """Standard deviation of values between seeds; None where it is not known."""
    from_confirmation: bool
    """Whether the deviation is that of the confirmation's runs, not of repeated recipes."""
    stops_early: bool
    """Whether trainings end by early stopping."""
    keeps_weights: bool
    """Whether lrsearch trains, and so keeps the weights of the evaluation that counts."""
    leaders: tuple[TwoEvaluations, ...]
    """The recommended trial first; empty where no trial has two evaluations to compare."""
    ends_best: TwoEvaluations | None
    """Of all complete trials, the one with the best last evaluation."""

    @property
    def recommended(self) -> TwoEvaluations | None:
        """The recommended trial."""
        return self.leaders[0] if self.leaders else None

    @property
    def others(self) -> tuple[TwoEvaluations, ...]:
        """The other leaders whose best and last evaluation differ by more than noise."""
        return tuple(leader for leader in self.leaders[1:] if leader.differs)


def compare_best_and_last(study: StudyData, settings: Settings) -> BestAndLast:
    """Compare the two evaluations of the leading trials of a study.

    With folds, evaluations are means over the folds so far, so that there is nothing to compare.
    """
    confirmation = study.confirmation
    confirmed = confirmed_noise(confirmation)
    noise = confirmed or seed_noise(study.ranked)
    deviation = None if noise is None else noise.deviation
    count = LEADERS
    if confirmation is not None:
        count = len(confirmation.search_values) or LEADERS
    numbers = {trial.number for trial in study.ranked[:count]}
    compared = [
        found
        for trial in (study.ranked if settings.data.folds is None else ())
        if (found := _two_evaluations(trial, study, deviation, trial.number in numbers)) is not None
    ]
    sign = 1.0 if study.metric.mode == "min" else -1.0
    is_known = bool(compared) and compared[0].trial == study.ranked[0].number
    return BestAndLast(
        metric=study.metric,
        deviation=deviation,
        from_confirmation=confirmed is not None,
        stops_early=settings.train.early_stopping is not None,
        keeps_weights=settings.objective is None,
        leaders=tuple(found for found in compared if found.trial in numbers) if is_known else (),
        ends_best=min(compared, key=lambda found: sign * found.last, default=None),
    )


def _two_evaluations(
    trial: TrialData, study: StudyData, deviation: float | None, with_phase: bool
) -> TwoEvaluations | None:
    """The best and the last evaluation of a trial; None where there are no two values."""
    sign = 1.0 if study.metric.mode == "min" else -1.0
    scored = [(sign * point.value, point) for point in trial.curve if point.value is not None]
    if len(scored) < 2 or trial.curve[-1].value is None:
        return None
    (first, _), (last, end) = scored[0], scored[-1]
    best, at = min(scored, key=lambda scored: scored[0])  # the first of equal ones
    least = NOISY * deviation if deviation is not None else SHARE_OF_GAIN * abs(first - best)
    share = shares_of(study, trial)[trial.curve.index(at)]
    return TwoEvaluations(
        trial=trial.number,
        best=sign * best,
        last=sign * last,
        epoch=at.epoch,
        last_epoch=end.epoch,
        share=share,
        phase=_phase(study, trial, share) if with_phase else None,
        differs=last - best > max(least, _ROUNDING * abs(best)),
    )


def _phase(study: StudyData, trial: TrialData, share: float) -> Phase | None:
    """What the learning rate of the first group did in the step before a share of the training."""
    groups = lr_curve(study, trial).groups
    if trial.recipe is None or not groups or len(groups[0].line_rates) < 2:
        return None
    line, shares = groups[0].line_rates, groups[0].line_shares
    step = int(np.clip(np.abs(shares - share).argmin(), 1, len(line) - 1))
    before, rate = float(line[step - 1]), float(line[step])
    if Duration.parse(trial.recipe.warmup).amount and np.all(np.diff(line[: step + 1]) > 0):
        return "warm-up"
    if math.isclose(before, rate, rel_tol=1e-12):
        return "constant" if math.isclose(rate, float(line.max()), rel_tol=1e-9) else "cut"
    return "rise" if rate > before else "decay"
