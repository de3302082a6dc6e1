"""`export`: all trials and evaluations of a study, as tables or as one document."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from lrsearch.analysis.columns import study_plain
from lrsearch.analysis.study_data import read_study
from lrsearch.analysis.tables import epochs_csv, trials_csv
from lrsearch.entry.asked import asked, no_more, output_folder, print_json
from lrsearch.errors import UserError
from lrsearch.files import write_whole

USAGE = "export NAME --format csv|json [--output PLACE] [storage.url=...] [output_dir=...]"


def export_study(
    arguments: Sequence[str], form: Literal["csv", "json"], output: Path | None
) -> None:
    """Writes `trials.csv`, as a sweep does at its end, and `epochs.csv`; or a document.

    Numbers are written so that reading them gives the same to the last bit. Raises UserError.
    """
    outputs, arguments = output_folder(arguments)
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
    folder = outputs / study.name if output is None else output
    if folder.is_file():
        raise UserError(f"--output: {folder} is a file; CSV needs a folder for two files")
    _write(folder / "trials.csv", trials_csv(study))
    _write(folder / "epochs.csv", epochs_csv(study))


def _write(path: Path, text: str) -> None:
    try:
        write_whole(path, text)
    except OSError as error:
        raise UserError(f"--output: cannot write {path}: {error.strerror}") from None
    print(path)
