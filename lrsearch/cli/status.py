"""`status`: the progress of all studies or of one, once or until it is done."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from lrsearch.analysis.confirmed import headline, progress_words
from lrsearch.cli.arguments import print_json, refuse_words, worker_advice
from lrsearch.cli.display import Shown, at_epoch, described, make_console, make_display
from lrsearch.cli.jobs import attached_jobs, job_lines, job_plain
from lrsearch.cli.locations import read_locations
from lrsearch.cli.manage_studies import waiting
from lrsearch.confirm.read import read_confirmation
from lrsearch.confirm.result import Confirmation
from lrsearch.errors import UserError, in_short
from lrsearch.queue.owners import process_in_words
from lrsearch.queue.queue import Queue
from lrsearch.states import Outcome, StudyState, WorkState, in_words
from lrsearch.storage.database import Database, open_existing
from lrsearch.storage.outages import passes
from lrsearch.study.index import StudyIndex, StudyStatus, status_of
from lrsearch.study.progress import Progress, Running
from lrsearch.text.formatting import duration, number
from lrsearch.text.redaction import redacted
from lrsearch.workers.locations import Locations

USAGE = "status [NAME] [--tag TAG] [--owner NAME] [storage.url=...]"
_INTERVAL = 2.0
"""Seconds between two readings of all studies."""


@dataclass(frozen=True)
class Selection:
    """The studies that are shown: the named one, or those of an owner that have all of the tags."""

    name: str | None
    tags: tuple[str, ...] = ()
    owner: str | None = None

    def of(self, database: Database) -> list[StudyStatus]:
        """Return the studies, the oldest first. Raises UserError for an unknown name."""
        if self.name is not None:
            return [status_of(database, self.name)]
        return [
            study
            for study in StudyIndex(database.session).statuses()
            if set(self.tags) <= set(study.service["tags"])
            and self.owner in (None, study.service["owner"])
        ]

    def __str__(self) -> str:
        """Return it in words after `no studies`: ` of ada with the tag nightly`."""
        tags = f" with the tag{'s' * (len(self.tags) > 1)} {', '.join(self.tags)}"
        return (f" of {self.owner}" if self.owner else "") + (tags if self.tags else "")


def show_status(
    arguments: Sequence[str],
    watch: bool,
    as_json: bool,
    tags: Sequence[str] = (),
    owner: str | None = None,
) -> int:
    """Show the chosen studies; return the exit code. Raises UserError."""
    if watch and as_json:
        raise UserError("--watch is for people, --json for programs: give one of them")
    locations, names = read_locations(arguments)
    refuse_words(names[1:], USAGE)
    if names and (tags or owner is not None):
        raise UserError(f"--tag and --owner choose among all studies: leave {names[0]} out")
    chosen = Selection(names[0] if names else None, tuple(tags), owner)
    database = open_existing(locations.url)
    try:
        if watch:
            return _watch(database, locations, chosen)
        if as_json:
            studies = [_plain(database, locations, study) for study in chosen.of(database)]
            print_json(studies[0] if names else studies)
        else:
            _show(make_console(), database, locations, chosen)
    finally:
        database.close()
    return 0


# Once


def _show(console: Console, database: Database, locations: Locations, chosen: Selection) -> None:
    url = locations.url
    studies = chosen.of(database)
    if not studies:
        _say(console, f"no studies{chosen} in {redacted(database.url)}")
    for study in studies:
        _say(console, _line(study))
        for line in _trouble(database, study, url):
            _say(console, line)
        if chosen.name is not None:
            _show_one(console, database, locations, study)


def _say(console: Console, line: str) -> None:
    console.print(line, markup=False, soft_wrap=True)


def _line(study: StudyStatus) -> str:
    counts = study.counts
    return (
        f"{study.name:24} {study.shown_state:8} "
        f"{counts[WorkState.DONE]}/{sum(counts.values())} done, "
        f"{counts[WorkState.RUNNING]} running, {counts[WorkState.OPEN]} open"
        + "; ".join(["", *_auxiliary_runs(study), *_service(study)])
    )


def _service(study: StudyStatus) -> list[str]:
    """How it is served, where that differs from the defaults: `share 2`, `of ada`, `nightly`."""
    service = study.service
    shown = {
        f"priority {service['priority']}": service["priority"] != 0,
        f"share {number(service['share'])}": service["share"] != 1,
        f"at most {service['max_running']} at a time": service["max_running"] is not None,
        f"of {service['owner']}": service["owner"] is not None,
        ", ".join(service["tags"]): service["tags"],
        f"needs {_needs(study)}": _needs(study),
        "any versions": service["allow_versions"],
    }
    return [words for words, is_shown in shown.items() if is_shown]


def _needs(study: StudyStatus) -> str:
    """What its workers must have: `a GPU of 40 GB, a100`; empty if nothing."""
    memory, labels = study.service["needs.gpu_memory"], study.service["needs.labels"]
    return ", ".join([*([f"a GPU of {memory:g} GB"] if memory is not None else []), *labels])


def _auxiliary_runs(study: StudyStatus) -> list[str]:
    """The progress of auxiliary runs; empty where there are none."""
    total, done = sum(study.auxiliary_counts.values()), study.auxiliary_counts[WorkState.DONE]
    return [f"{done}/{total} auxiliary runs done"] if total else []


def _trouble(database: Database, study: StudyStatus, url: str) -> list[str]:
    """Lines on why the study is not open, which hosts refuse it, and missing workers."""
    lines = []
    if study.stopped and study.state != StudyState.OPEN:
        lines.append(f"    {in_short(study.stopped)}")
    for host, reason in study.refusals.items():
        lines.append(f"    left alone by {host}: {reason.strip().splitlines()[0]}")
    if _lacks_workers(database, study):
        trials, auxiliary_runs = (
            counts[WorkState.OPEN] + counts[WorkState.RUNNING]
            for counts in (study.counts, study.auxiliary_counts)
        )
        left = waiting(trials, auxiliary_runs)
        labels = study.service["needs.labels"]
        machine = f" (on a machine with {needs})" if (needs := _needs(study)) else ""
        lines.append(f"    {left}, {worker_advice(study.name, url, labels)}{machine}")
    return lines


def _lacks_workers(database: Database, study: StudyStatus) -> bool:
    """Whether trials of an open study wait and no live worker runs any."""
    left = study.work[WorkState.OPEN] + study.work[WorkState.RUNNING]
    is_open = study.state == StudyState.OPEN and left > 0
    return is_open and not StudyIndex(database.session).running_now(study.study_id)


def _show_one(
    console: Console, database: Database, locations: Locations, study: StudyStatus
) -> None:
    """Print how many trials have ended how, and the running ones with their workers."""
    queue = Queue(database.session, study.study_id)
    progress = Progress(database.session, study.study_id)
    counts = queue.outcomes()
    outcomes = ", ".join(f"{counts[key]} {in_words(key)}" for key in Outcome if key in counts)
    spent = duration(queue.spent())
    _say(console, f"    {outcomes or 'nothing has ended yet'}; {spent} of wall clock")
    snapshot = progress.snapshot()
    for run in [*snapshot.running, *snapshot.auxiliary_running]:
        at = (
            "just begun"
            if run.epoch is None
            else f"epoch {at_epoch(run)}, {snapshot.metric} {number(run.value)}"
        )
        recipe = f", {described(run.recipe)}" if run.recipe is not None else ""
        again = "" if run in snapshot.running else " again"
        worker = process_in_words(run.owner)
        _say(console, f"    trial {run.trial}{again} on {worker}: {at}{recipe}")
    with attached_jobs(database, locations, study) as jobs:
        for line in job_lines(jobs, [*snapshot.running, *snapshot.auxiliary_running]):
            _say(console, f"    {line}")
    if (test := snapshot.range_test) is not None:
        where = "waits for a worker" if test.owner is None else f"on {process_in_words(test.owner)}"
        _say(console, f"    range test {where}; trials follow")
    confirmation = _confirmation(database, study)
    if confirmation is not None and confirmation.winner is not None:
        _say(
            console,
            f"    confirmed best: trial {confirmation.winner.trial}, {headline(confirmation)}",
        )
    elif confirmation is not None and confirmation.work_left:
        _say(console, f"    {progress_words(confirmation)}")


def _confirmation(database: Database, study: StudyStatus) -> Confirmation | None:
    with database.session() as session:
        return read_confirmation(session, study.study_id)


def _plain(database: Database, locations: Locations, study: StudyStatus) -> dict[str, Any]:
    queue = Queue(database.session, study.study_id)
    confirmation = _confirmation(database, study)
    snapshot = Progress(database.session, study.study_id).snapshot()
    with attached_jobs(database, locations, study) as attached:
        jobs = job_plain(attached)
    return {
        "study": study.name,
        "state": study.shown_state,
        "stopped": study.stopped,
        **_nested(study.service),
        "total": sum(study.counts.values()),
        **study.counts,
        "outcomes": queue.outcomes(),
        "seconds": queue.spent(),
        "refusals": dict(study.refusals),
        "lacks_workers": _lacks_workers(database, study),
        "trials_running": [_running_plain(run) for run in snapshot.running],
        "jobs": jobs,
        "side_runs": dict(study.auxiliary_counts),
        "side_runs_running": [_running_plain(run) for run in snapshot.auxiliary_running],
        "confirmed": None
        if confirmation is None or confirmation.winner is None
        else confirmation.to_json(),
    }


def _nested(service: Mapping[str, Any]) -> dict[str, Any]:
    """How a study is served, as a configuration has it: with `needs` as a section."""
    plain = {key: value for key, value in service.items() if "." not in key}
    needs = {key.partition(".")[2]: service[key] for key in service if "." in key}
    return {**plain, "needs": needs}


def _running_plain(run: Running) -> dict[str, Any]:
    return {
        "trial": run.trial,
        "owner": run.owner,
        "epoch": run.epoch,
        "train_loss": run.train_loss,
        "val_loss": run.val_loss,
        "value": run.value,
        "lr": run.lr,
        "recipe": run.recipe,
    }


# Until it is done


def _watch(database: Database, locations: Locations, chosen: Selection) -> int:
    """Show the progress until nothing runs; return 0, or 130 after Ctrl-C."""
    console, url = make_console(), locations.url
    try:
        if chosen.name is not None:
            (study,) = chosen.of(database)
            with attached_jobs(database, locations, study) as jobs:
                for line in job_lines(jobs, []):
                    _say(console, line)
            _watch_one(console, database, study, url)
        else:
            _watch_all(console, database, chosen, url)
    except KeyboardInterrupt:
        return 130
    if chosen.name is not None or console.is_terminal:  # into a pipe all lines have been printed
        _show(console, database, locations, chosen)
    return 0


def _is_over(study: StudyStatus) -> bool:
    """Whether nothing runs, or would without a person's command."""
    work = study.work
    return not work[WorkState.RUNNING] and (
        study.state != StudyState.OPEN or not work[WorkState.OPEN]
    )


def _watch_one(console: Console, database: Database, study: StudyStatus, url: str) -> None:
    from lrsearch.config.load import stored_settings
    from lrsearch.study.study import load_row

    row = load_row(database, study.name)
    sweep = Shown.of(stored_settings(row.config), row.seconds)
    progress = Progress(database.session, study.study_id)
    finished = progress.finished()
    seen = finished[-1].order if finished else 0
    if not _is_over(study):  # something at once; the next line may take a while
        lines = [] if console.is_terminal else [_line(study)]
        for line in [*lines, *_trouble(database, study, url)]:
            _say(console, line)
    with make_display(console, sweep, finished) as display:

        def look() -> bool:
            nonlocal seen
            over = _is_over(status_of(database, study.name))  # first: none is missed then
            new = progress.finished(seen)
            seen = new[-1].order if new else seen
            display.update(progress.snapshot(), new)
            return over

        _repeat(look, display.interval, display.say)


def _watch_all(console: Console, database: Database, chosen: Selection, url: str) -> None:
    """Draw a table again and again in a terminal; elsewhere print lines when they change."""
    if console.is_terminal:
        with Live(console=console, auto_refresh=False, transient=True) as live:

            def draw() -> bool:
                studies = chosen.of(database)
                live.update(_table(studies), refresh=True)
                return all(map(_is_over, studies))

            _repeat(draw, _INTERVAL, lambda line: _say(live.console, line))
        return
    shown: set[str] = set()

    def tell() -> bool:
        studies = chosen.of(database)
        for study in studies:
            for line in [_line(study), *_trouble(database, study, url)]:
                if line not in shown:
                    _say(console, line)
                    shown.add(line)
        return all(map(_is_over, studies))

    _repeat(tell, _INTERVAL, lambda line: _say(console, line))


def _repeat(look: Callable[[], bool], interval: float, say: Callable[[str], None]) -> None:
    """Draw until nothing runs; wait during outages of the database."""
    reached = True
    while True:
        try:
            if look():
                return
            reached = True
        except Exception as error:
            if not passes(error):
                raise
            if reached:
                say("the database does not answer; waiting for it")
            reached = False
        time.sleep(interval)


def _table(studies: Sequence[StudyStatus]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("study", overflow="ellipsis", no_wrap=True)
    columns: dict[str, Callable[[StudyStatus], object]] = {
        "state": lambda study: study.shown_state,
        "done": lambda study: study.counts[WorkState.DONE],
        "running": lambda study: study.counts[WorkState.RUNNING],
        "open": lambda study: study.counts[WorkState.OPEN],
        "priority": lambda study: study.service["priority"],
        "share": lambda study: number(study.service["share"]),
        "owner": lambda study: study.service["owner"] or "",
        "tags": lambda study: ", ".join(study.service["tags"]),
    }
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    for study in studies:
        cells = (str(cell(study)) for cell in columns.values())
        table.add_row(Text(study.name), *map(Text, cells))
    return table
