"""`report`: the results of a study as one page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from lrsearch.analysis.study_data import StudyData, read_study
from lrsearch.cli.display import make_console
from lrsearch.cli.locations import output_folder, read_locations
from lrsearch.errors import UserError
from lrsearch.files import write_whole
from lrsearch.storage.database import open_existing
from lrsearch.study.index import StudyIndex
from lrsearch.text.formatting import plural

_DEFAULT_URL = "sqlite:///lrsearch.db"


def write_report(arguments: Sequence[str], output: Path | None) -> None:
    """Run the command `report`. Raises UserError."""
    console = make_console()
    folder, places = output_folder(arguments)
    locations, names = read_locations(places)
    database = open_existing(locations.url)
    try:
        if len(names) != 1:
            known = [study.name for study in StudyIndex(database.session).statuses()]
            raise UserError(f"name one study; there: {', '.join(known) or 'none'}")
        with console.status(f"reading {names[0]} ..."):
            study = read_study(database, names[0], thinned=True)
    finally:
        database.close()
    path = output or folder / study.name / "report.html"
    with console.status("drawing the figures ..."):
        page = report_page(study, locations.url, folder / study.name / "best.yaml")
    _write(path, page)
    _say(console, study, path)


def report_page(study: StudyData, url: str, record: Path) -> str:
    """The HTML of a study's report. `record` is the path of its `best.yaml`."""
    from lrsearch.analysis.findings import findings
    from lrsearch.cli.widen import widening_command
    from lrsearch.plots.interactive.study import report_figures
    from lrsearch.report.code import best_code
    from lrsearch.report.page import build_page
    from lrsearch.report.sections import sections

    results = findings(study)
    widening = widening_command(study, results.edges, url)
    parts = sections(study, results, best_code(study), widening, str(record))
    return build_page(study, results, parts, report_figures(study, results))


def _write(path: Path, page: str) -> None:
    try:
        write_whole(path, page)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}; give --output FILE") from None


def _say(console: Console, study: StudyData, path: Path) -> None:
    size = path.stat().st_size / 1e6
    console.print(
        f"{path}  {size:.1f} MB, {study.done} of {plural(study.total, 'trial')} of {study.name}; "
        f"open it in any browser, no network needed",
        markup=False,
        soft_wrap=True,
    )
