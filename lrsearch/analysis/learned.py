"""Whether a training that did not diverge has learned anything."""

from __future__ import annotations

import math

from lrsearch.analysis.study_data import StudyData, TrialData
from lrsearch.settings import Settings

_LIKE_GUESSING = 0.98
_NEAR_GUESSING = 0.5
"""Share of the loss of guessing below which a loss that rises again is overfitting."""


def guessing_loss(study: StudyData, settings: Settings) -> float | None:
    """Cross-entropy of guessing among the classes, their logarithm; None for other losses."""
    classes = (study.record.get("data") or {}).get("n_classes")
    loss = settings.train.loss
    if not classes or classes < 2 or not (loss is None or loss.name == "cross_entropy"):
        return None
    return math.log(classes)


def learned_nothing(trial: TrialData, study: StudyData, settings: Settings) -> bool:
    """Return whether a trial ended no better than guessing, or never improved after the start.

    The second is judged by the metric, and only where the loss is not low: a training of low loss
    has learned everything before its first evaluation.
    """
    if not trial.curve:
        return False
    guessing, last = guessing_loss(study, settings), trial.curve[-1].val_loss
    if guessing is not None and last is not None:
        if last >= _LIKE_GUESSING * guessing:
            return True
        if last < _NEAR_GUESSING * guessing:
            return False
    values = [evaluation.value for evaluation in trial.curve if evaluation.value is not None]
    sign = 1.0 if study.metric.mode == "min" else -1.0
    return len(values) > 1 and min(sign * value for value in values[1:]) >= sign * values[0]
