"""`export`: all trials and evaluations of a study, as tables or as one document."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from lrsearch.analysis.columns import point_plain, recipe_columns, study_plain, trial_plain
from lrsearch.analysis.study_data import StudyData, TrialData, read_study
from lrsearch.entry.asked import asked, no_more, print_json
from lrsearch.errors import UserError

USAGE = "export NAME --format csv|json [--output PLACE] [storage.url=...]"


def export_study(
    arguments: Sequence[str], form: Literal["csv", "json"], output: Path | None
) -> None:
    """Writes `NAME-trials.csv` and `NAME-epochs.csv` to a folder, or a document.

    Numbers are written so that reading them gives the same to the last bit. Raises UserError.
    """
    with asked(arguments, USAGE) as where:
        no_more(where.words, USAGE)
        study = read_study(where.database, where.name)
    if form == "json":
        if output is None:
            print_json(study_plain(study))
        else:
            text = json.dumps(study_plain(study), indent=2, ensure_ascii=False, allow_nan=False)
            _write(output, text + "\n")
        return
    folder = Path("outputs") / study.name if output is None else output
    if folder.is_file():
        raise UserError(f"--output: {folder} is a file; CSV needs a folder for two files")
    _write(
        folder / f"{study.name}-trials.csv", _table(map(_trial_row, study.trials), last=["reason"])
    )
    _write(folder / f"{study.name}-epochs.csv", _table(_epoch_rows(study)))


def _write(path: Path, text: str) -> None:
    from lrsearch.results import write_whole

    try:
        write_whole(path, text)
    except OSError as error:
        raise UserError(f"--output: cannot write {path}: {error.strerror}") from None
    print(path)


def _trial_row(trial: TrialData) -> dict[str, Any]:
    plain = trial_plain(trial)
    recipe, reason = plain.pop("recipe"), plain.pop("reason")
    return {**plain, **recipe_columns(recipe or {}), "reason": reason}


def _epoch_rows(study: StudyData) -> list[dict[str, Any]]:
    rows = []
    for trial in study.trials:
        for point in trial.curve:
            plain = point_plain(point)
            metrics = plain.pop("metrics")
            rows.append({"trial": trial.number, **plain, **metrics})
    return rows


def _table(rows: Iterable[Mapping[str, Any]], last: Sequence[str] = ()) -> str:
    """Rows as CSV, with a column for every name that any of them has; None is an empty cell."""
    known = list(rows)
    names = dict.fromkeys(name for row in known for name in row)
    columns = [*(name for name in names if name not in last), *last]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns)
    writer.writeheader()
    writer.writerows(known)
    return text.getvalue()
