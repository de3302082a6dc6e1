"""`export`: all trials and evaluations of a study, as tables or as one document."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from lrsearch.analysis.columns import study_plain, trial_document
from lrsearch.analysis.study_data import StudyData, TrialData, each_trial, read_study
from lrsearch.analysis.tables import epochs_csv, trials_csv
from lrsearch.cli.arguments import named_study, refuse_words
from lrsearch.cli.locations import output_folder
from lrsearch.errors import UserError
from lrsearch.files import write_whole

USAGE = "export NAME --format csv|json [--output PLACE] [storage.url=...] [output_dir=...]"


def export_study(
    arguments: Sequence[str], form: Literal["csv", "json"], output: Path | None
) -> None:
    """Write `trials.csv`, as a sweep does at its end, and `epochs.csv`; or one JSON document.

    Numbers are written so that reading them gives the same to the last bit. Of the evaluations a
    few hundred trials' are in memory at a time. Raises UserError.
    """
    outputs, arguments = output_folder(arguments)
    with named_study(arguments, USAGE) as named:
        refuse_words(named.words, USAGE)
        study = read_study(named.database, named.name, curves=False)

        def trials() -> Iterator[TrialData]:
            return each_trial(named.database, study)

        if form == "json":
            document = _document(study, trials())
            if output is None:
                sys.stdout.writelines(document)
            else:
                _write(output, document)
            return
        folder = outputs / study.name if output is None else output
        if folder.is_file():
            raise UserError(f"--output: {folder} is a file; CSV needs a folder for two files")
        _write(folder / "trials.csv", trials_csv(study, trials()))
        _write(folder / "epochs.csv", epochs_csv(trials()))


def _document(study: StudyData, trials: Iterable[TrialData]) -> Iterator[str]:
    """The study as one JSON document, yielded in pieces as the trials are read."""

    def as_json(plain: dict[str, Any], margin: str) -> str:
        text = json.dumps(plain, indent=2, ensure_ascii=False, allow_nan=False)
        return text.replace("\n", f"\n{margin}")  # within strings a line's end is escaped

    yield as_json(study_plain(study), "").removesuffix("\n}") + ',\n  "trials": ['
    separator = "\n    "
    for trial in trials:
        yield separator + as_json(trial_document(study, trial), "    ")
        separator = ",\n    "
    yield "]\n}\n" if separator.startswith("\n") else "\n  ]\n}\n"


def _write(path: Path, text: Iterable[str]) -> None:
    try:
        write_whole(path, text)
    except OSError as error:
        raise UserError(f"--output: cannot write {path}: {error.strerror}") from None
    print(path)
