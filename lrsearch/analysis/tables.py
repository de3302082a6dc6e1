"""A study's trials and evaluations as CSV with all digits, for a sweep's end and `export`."""

from __future__ import annotations

import csv
import json
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from lrsearch.analysis.columns import evaluations_plain, recipe_columns, trial_plain
from lrsearch.analysis.study_data import StudyData, TrialData

# See OWASP, "CSV Injection"; the full-width signs are read like the others.
_FORMULA = re.compile("'*[=+\\-@\t\n＝＋－＠]")
_FIRST = ("trial", "state", "outcome", "value", "seconds", "seed")
_LAST = ("warning", "reason")
_IN_MEMORY = 1 << 20
"""Bytes of a table that are kept in memory while it is put together; beyond, in a file."""


def trials_csv(study: StudyData, trials: Iterable[TrialData]) -> Iterator[str]:
    """Return one row per trial: outcome, recipe in columns, and last warnings and why it ended."""
    return _table((_trial_row(study, trial) for trial in trials), _FIRST, last=_LAST)


def trials_rows(study: StudyData) -> list[dict[str, Any]]:
    """Return the same rows as plain values, each with all columns in their order."""
    rows = [_trial_row(study, trial) for trial in study.trials]
    names = dict.fromkeys([*_FIRST, *(name for row in rows for name in row)])
    columns = [*(name for name in names if name not in _LAST), *_LAST]
    return [{name: row.get(name) for name in columns} for row in rows]


def epochs_csv(trials: Iterable[TrialData]) -> Iterator[str]:
    """Return one row per evaluation, further metrics in columns of their own."""
    return _table((row for trial in trials for row in _epoch_rows(trial)), ["trial"])


def _epoch_rows(trial: TrialData) -> Iterator[dict[str, Any]]:
    for plain in evaluations_plain(trial):
        metrics = plain.pop("metrics")
        yield {"trial": trial.number, **plain, **metrics}


def _trial_row(study: StudyData, trial: TrialData) -> dict[str, Any]:
    plain = trial_plain(study, trial)
    number, recipe = plain.pop("number"), plain.pop("recipe") or {}
    first = {name: plain.pop(name) for name in _FIRST if name in plain}
    return {"trial": number, **first, **recipe_columns(recipe), **plain}


class _Line:
    """File-like object that returns what is written to it."""

    def write(self, text: str) -> str:
        return text


def _table(
    rows: Iterable[Mapping[str, Any]], first: Sequence[str], last: Sequence[str] = ()
) -> Iterator[str]:
    """Rows as lines of CSV, with a column for every name that any of them has; None is empty.

    The names are known after the last row: until then, rows are kept in a temporary file. Text that
    a spreadsheet would take for a formula gets a leading `'`, as does text that begins with `'` and
    then such a text, so that removing one `'` restores both. Numbers stay as they are.
    """
    names = dict.fromkeys(first)
    with tempfile.SpooledTemporaryFile(_IN_MEMORY, "w+", encoding="utf-8") as waiting:
        for row in rows:
            names.update(dict.fromkeys(row))
            waiting.write(json.dumps([row.get(name) for name in names]) + "\n")
        order = {name: place for place, name in enumerate(names)}
        columns = [*(name for name in names if name not in last), *last]
        places = [order.get(name, len(names)) for name in columns]
        writer = csv.writer(_Line(), lineterminator="\n")
        yield writer.writerow(map(_cell, columns))
        waiting.seek(0)
        for line in waiting:
            cells = json.loads(line)
            yield writer.writerow([_cell(cells[k]) if k < len(cells) else None for k in places])


def _cell(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    text = re.sub("\r\n?", "\n", value)  # Python's reader fails on a lone \r
    return f"'{text}" if _FORMULA.match(text) else text
