"""A study's trials and evaluations as CSV, to the last digit: of a sweep's end and of `export`."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lrsearch.analysis.columns import point_plain, recipe_columns, trial_plain
from lrsearch.analysis.study_data import StudyData, TrialData

_FIRST = ("trial", "state", "outcome", "value", "seconds", "seed")


def trials_csv(study: StudyData) -> str:
    """A row a trial: how it went, its recipe in columns, and at the end why it ended early."""
    return _table((_trial_row(study, trial) for trial in study.trials), _FIRST, last=["reason"])


def epochs_csv(study: StudyData) -> str:
    """A row an evaluation, further metrics in columns of their own."""
    rows = []
    for trial in study.trials:
        for point in trial.curve:
            plain = point_plain(point)
            metrics = plain.pop("metrics")
            rows.append({"trial": trial.number, **plain, **metrics})
    return _table(rows, ["trial"])


def _trial_row(study: StudyData, trial: TrialData) -> dict[str, Any]:
    plain = trial_plain(study, trial)
    number, recipe = plain.pop("number"), plain.pop("recipe") or {}
    first = {name: plain.pop(name) for name in _FIRST if name in plain}
    return {"trial": number, **first, **recipe_columns(recipe), **plain}


def _table(
    rows: Iterable[Mapping[str, Any]], first: Sequence[str], last: Sequence[str] = ()
) -> str:
    """Rows as CSV, with a column for every name that any of them has; None is an empty cell."""
    known = list(rows)
    names = dict.fromkeys([*first, *(name for row in known for name in row)])
    columns = [*(name for name in names if name not in last), *last]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(known)
    return text.getvalue()
