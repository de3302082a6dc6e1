"""The range test of a study: asked for with its units, claimed before them, kept in its row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Select, select, update
from sqlalchemy.orm import Session

from lrsearch.config.load import stored_settings
from lrsearch.config.ranges import with_ranges
from lrsearch.settings import Settings
from lrsearch.space.names import ParameterName
from lrsearch.states import Outcome, RunKind, StudyState, WorkState
from lrsearch.storage.tables import AuxiliaryRunRow, StudyRow, TrialSlotRow

RECORD_KEY = "range_test"
"""Under which a study's record has its range test."""


def ask_for_ranges(session: Session, settings: Settings, study_id: int) -> None:
    """Add the auxiliary run that finds the ranges, where the settings leave any to be found."""
    if settings.space.to_find and session.scalar(_range_tests(study_id)) is None:
        seed = settings.study.seed
        session.add(
            AuxiliaryRunRow(study_id=study_id, kind=RunKind.RANGE_TEST, number=0, seed=seed)
        )


def try_again(session: Session, study_id: int) -> None:
    """Open a range test that has failed: whoever goes on with the study wants it."""
    row = session.scalar(_range_tests(study_id))
    if row is not None and row.state == WorkState.DONE and row.outcome != Outcome.COMPLETE:
        row.state, row.owner, row.deaths = WorkState.OPEN, None, 0
        row.outcome = row.reason = row.finished_at = None


def stop_without_ranges(session: Session, study_id: int) -> None:
    """Stop a study whose range test has found nothing: no trial can follow."""
    row = session.scalar(_range_tests(study_id).execution_options(populate_existing=True))
    if row is None or row.state != WorkState.DONE or row.outcome == Outcome.COMPLETE:
        return
    session.execute(
        update(StudyRow)
        .where(StudyRow.study_id == study_id)
        .values(state=StudyState.STOPPED, stopped=f"the range test has {row.outcome}: {row.reason}")
    )


def _range_tests(study_id: int) -> Select[AuxiliaryRunRow]:
    return select(AuxiliaryRunRow).where(
        AuxiliaryRunRow.study_id == study_id, AuxiliaryRunRow.kind == RunKind.RANGE_TEST
    )


def found_ranges(record: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    """The ranges that a study's record has, by the names of `Space.to_find`."""
    ranges: Mapping[str, Mapping[str, Any]] = record.get(RECORD_KEY, {}).get("ranges", {})
    return ranges


def keep_ranges(session: Session, study_id: int, test: Mapping[str, Any]) -> None:
    """Write a range test, as `RangeTest.to_json` has it, into the study's row.

    From then on its configuration has these ranges instead of `auto`, widened to what its units
    were given: every later reader has one and the same space.
    """
    study = StudyRow.study_id == study_id
    # Locks the row: a run that goes on with the study may write it at the same moment. And workers
    # that have loaded the study without ranges will load it again.
    session.execute(update(StudyRow).where(study).values(runs=StudyRow.runs + 1))
    row = session.get_one(StudyRow, study_id, populate_existing=True)
    settings = stored_settings(row.config)
    given = session.scalars(
        select(TrialSlotRow.params).where(TrialSlotRow.study_id == study_id)
    ).all()
    is_coupled = settings.space.coupling.rule != "none"
    ranges = {}
    for name, one in test["ranges"].items():
        stored = str(ParameterName.parse(name).as_reference()) if is_coupled else name
        tried = [
            params[stored] for params in (*given, *settings.study.try_first) if stored in params
        ]
        ranges[name] = {
            **one, "low": min([one["low"], *tried]), "high": max([one["high"], *tried]),
        }  # fmt: skip
    row.config = dict(with_ranges(settings, ranges).plain)
    row.record = {**row.record, RECORD_KEY: {**test, "ranges": ranges}}
