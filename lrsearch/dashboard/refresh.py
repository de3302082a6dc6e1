"""Refreshes the notes and figures that lrsearch adds to the dashboard.

The dashboard's process does it, and a sweep once at its end. The fingerprint of what a study
showed is stored beside its notes, so that only one of several dashboards draws each change.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from typing import Any, Self

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.orm import Session

from lrsearch import __version__
from lrsearch.analysis.sentences.verdict import verdict_line
from lrsearch.analysis.study_data import StudyData, TrialData, read_study
from lrsearch.dashboard import attributes
from lrsearch.dashboard.importances import importances
from lrsearch.dashboard.notes import study_note, trial_note
from lrsearch.dashboard.own_tables import OwnTables
from lrsearch.errors import LrsearchError, UserError
from lrsearch.states import WorkState
from lrsearch.storage.database import Database
from lrsearch.storage.outages import passes
from lrsearch.storage.tables import AuxiliaryRunRow, EvaluationRow, StudyRow, TrialSlotRow

INTERVAL = 10.0
"""Seconds between two looks for changed studies."""
# Trials with a note. For each trial of a page the dashboard looks through all notes: of a study
# with many trials fewer have one.
_NOTED, _FEWEST_NOTED, _LOOKS = 200, 20, 200_000

# In the dashboard nothing else says what a figure shows.
TITLES = {
    "lrsearch-curves": "Validation curves",
    "lrsearch-rates": "Learning rates of the best trials",
    "lrsearch-loss-vs-lr": "Loss against learning rate",
    "lrsearch-map": "Learning rate and batch size",
    "lrsearch-importance": "What mattered",
    "lrsearch-range-test": "Range test: loss over the rate",
}
"""The titles of the figures by their names, in the order in which they are shown."""
# The legend is below the figure and the title below the buttons of a touch screen, where neither
# covers anything.
# A card of the dashboard has this height, and cuts what is below.
_LAYOUT: dict[str, Any] = {
    "height": 450, "margin_t": 72,
    "legend_y": -0.2, "legend_yanchor": "top", "legend_font_size": 11, "title_x": 0, "title_y": 1,
    "title_xref": "container", "title_yref": "paper", "title_yanchor": "bottom",
    "title_pad_b": 12, "title_pad_l": 8, "title_font_size": 14,
}  # fmt: skip


def stale(database: Database) -> dict[str, str]:
    """Return the fingerprints of studies that changed since they were last written, by name."""
    with database.session() as session:
        shown = attributes.marks(session)
        return {
            name: mark
            for study_id, (name, mark) in _marks_now(session).items()
            if shown.get(study_id) != mark
        }


def refresh(
    database: Database, name: str, mark: str, pause: Callable[[], object] = lambda: None
) -> None:
    """Write a study's notes and figures. Raises database errors.

    `pause` is called between steps of a second or so beside thousands of trials.
    """
    from lrsearch.analysis.findings import findings
    from lrsearch.plots.interactive.study import study_figures

    try:
        study = read_study(database, name, thinned=True)
    except UserError:
        return  # it has just been deleted
    pause()
    results = findings(study)
    pause()
    drawn = {
        key: figure.update_layout(title_text=TITLES.get(key), **_LAYOUT).to_json()
        for key, figure in study_figures(study, results).items()
    }
    pause()
    with database.session() as session:
        stored = attributes.read(session, study.study_id)
    changes = attributes.marked(mark) | attributes.figures(stored, drawn)
    changes |= importances(results.importance)
    changes |= attributes.note(
        stored, study_note(study, verdict_line(results.verdict), results.sentences())
    )
    noted = _noted(study)
    changes |= attributes.old_notes(stored, {trial.trial_id for trial in noted})
    for trial in noted:
        changes |= attributes.note(stored, trial_note(trial, study), trial.trial_id)
    try:
        with database.session.begin() as session:
            attributes.write(session, study.study_id, changes)
    except IntegrityError:
        pass  # another dashboard has just written the same


def _noted(study: StudyData) -> list[TrialData]:
    """Return the trials that get a note: the best, then the latest."""
    latest = sorted(study.trials, key=lambda trial: trial.number, reverse=True)
    count = min(_NOTED, max(_FEWEST_NOTED, _LOOKS // max(1, len(latest))))
    chosen = {trial.number: trial for trial in [*study.ranked[: count // 2], *latest]}
    return list(chosen.values())[:count]


def _marks_now(session: Session) -> dict[int, tuple[str, str]]:
    """Return name and fingerprint of every study; a fingerprint changes with all that is shown."""
    facts: dict[int, list[object]] = {}
    names = {}
    for row in session.execute(
        select(
            StudyRow.study_id, StudyRow.name, StudyRow.state, StudyRow.stopped, StudyRow.finished,
            StudyRow.runs,
        )
    ):  # fmt: skip
        names[row.study_id] = row.name
        facts[row.study_id] = [__version__, *row]
    slots = select(
        TrialSlotRow.study_id, TrialSlotRow.state, func.count(), func.sum(TrialSlotRow.attempts)
    )
    evaluations = (
        select(TrialSlotRow.study_id, func.count())
        .join(EvaluationRow, EvaluationRow.trial_id == TrialSlotRow.trial_id)
        # The notes of all other trials no longer change.
        .where(TrialSlotRow.state == WorkState.RUNNING)
    )
    run = AuxiliaryRunRow
    auxiliary_runs = (
        select(run.study_id, run.state, func.count(), func.sum(run.attempts))
        .group_by(run.study_id, run.state)
        .order_by(run.study_id, run.state)
    )
    for query in (
        auxiliary_runs,
        slots.group_by(TrialSlotRow.study_id, TrialSlotRow.state).order_by(
            TrialSlotRow.study_id, TrialSlotRow.state
        ),
        evaluations.group_by(TrialSlotRow.study_id),
    ):
        for study_id, *counts in session.execute(query):
            facts.setdefault(study_id, []).append(tuple(map(str, counts)))
    return {
        study_id: (name, hashlib.sha256(repr(facts[study_id]).encode()).hexdigest()[:16])
        for study_id, name in names.items()
    }


class Refresher:
    """A thread that refreshes all studies of a database as long as a dashboard is open."""

    def __init__(
        self,
        tables: OwnTables,
        say: Callable[[str], None],
        quiet: Callable[[float], object] = lambda _: None,
    ) -> None:
        """`quiet(seconds)` waits up to that long until no request is in progress."""
        self._tables, self._say, self._quiet = tables, say, quiet
        self._over = threading.Event()
        self._failed: set[str] = set()
        self._thread = threading.Thread(target=self._run, name="refresher", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join(timeout=INTERVAL)

    def _run(self) -> None:
        while True:
            try:
                self._round()
            except (SQLAlchemyError, LrsearchError) as error:
                if not passes(error):
                    reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
                    self._say(f"notes and figures stay as they are in the database: {reason}")
                    return
            if self._over.wait(INTERVAL):
                return

    def _round(self) -> None:
        database = self._tables.database()
        if database is None:
            return
        for name, mark in stale(database).items():
            self._quiet(INTERVAL)
            if self._over.is_set():
                return
            try:
                refresh(database, name, mark, lambda: self._quiet(INTERVAL))
            except SQLAlchemyError:
                raise
            except Exception as error:  # noqa: BLE001 - the other studies are still shown
                if name not in self._failed:
                    self._say(f"notes and figures of {name} are out of date: {error!r}")
                self._failed.add(name)
