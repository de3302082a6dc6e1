"""Doubts about a study as a whole: other data than asked for, and trials with warnings."""

from __future__ import annotations

from dataclasses import dataclass

from lrsearch.analysis.study_data import StudyData
from lrsearch.data.spec import DataInfo
from lrsearch.study.study import fallback_warning


@dataclass(frozen=True)
class Warned:
    """What is doubtful about a study."""

    stand_in: str | None
    """That other data than the configured ones were used; None if they were not."""
    trials: int
    """Number of trials that have a warning of their own, such as of learning rates."""
    first: int | None
    """The best trial if it has one, else the first that has; None where none has."""
    line: str
    """The warning of that trial in one line."""


def find_warned(study: StudyData) -> Warned:
    """Collect the warnings of a study and of its trials."""
    data = study.record.get("data")
    has_stand_in = bool(data and data.get("fallback_reason"))
    stand_in = fallback_warning(DataInfo.from_json(data)) if data and has_stand_in else None
    warned = [trial for trial in study.trials if trial.warning]
    if not warned:
        return Warned(stand_in, 0, None, "")
    best = study.ranked[0] if study.ranked else None
    first = min(warned, key=lambda trial: (trial is not best, trial.number))
    return Warned(stand_in, len(warned), first.number, " ".join(str(first.warning).split()))
