"""The range test of a study in the database.

It is added with the trial slots, claimed before them, and its result is stored in the study's row.
"""

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
"""Key of the range test in a study's record."""


def add_range_test(session: Session, settings: Settings, study_id: int) -> None:
    """Add the auxiliary run that finds the ranges, if the settings have any `auto`."""
    if settings.space.to_find and session.scalar(_range_tests(study_id)) is None:
        seed = settings.study.seed
        session.add(
            AuxiliaryRunRow(study_id=study_id, kind=RunKind.RANGE_TEST, number=0, seed=seed)
        )


def try_again(session: Session, study_id: int) -> None:
    """Reopen a failed range test, when a study is continued."""
    row = session.scalar(_range_tests(study_id))
    if row is not None and row.state == WorkState.DONE and row.outcome != Outcome.COMPLETE:
        row.state, row.owner, row.deaths = WorkState.OPEN, None, 0
        row.outcome = row.reason = row.finished_at = None


def stop_without_ranges(session: Session, study_id: int) -> None:
    """Stop a study whose range test has failed: no trial can follow."""
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
    """Return the ranges in a study's record, by the names of `Space.to_find`."""
    ranges: Mapping[str, Mapping[str, Any]] = record.get(RECORD_KEY, {}).get("ranges", {})
    return ranges


def keep_ranges(session: Session, study_id: int, test: Mapping[str, Any]) -> None:
    """Write a range test, as `RangeTest.to_json` returns it, into the study's row.

    Its ranges replace `auto` in the study's configuration, widened to include the values that are
    planned for its trial slots, so that all later readers see the same space.
    """
    study = StudyRow.study_id == study_id
    # Lock the row, which a command that continues the study may write at the same moment. A new
    # number of `runs` makes the workers that loaded the study without ranges reload it.
    session.execute(update(StudyRow).where(study).values(runs=StudyRow.runs + 1))
    row = session.get_one(StudyRow, study_id, populate_existing=True)
    settings = stored_settings(row.config)
    planned = session.scalars(
        select(TrialSlotRow.params).where(TrialSlotRow.study_id == study_id)
    ).all()
    is_coupled = settings.space.coupling.rule != "none"
    ranges = {}
    for name, found in test["ranges"].items():
        stored = str(ParameterName.parse(name).as_reference()) if is_coupled else name
        tried = [
            params[stored] for params in (*planned, *settings.study.try_first) if stored in params
        ]
        ranges[name] = {
            **found, "low": min([found["low"], *tried]), "high": max([found["high"], *tried]),
        }  # fmt: skip
    row.config = dict(with_ranges(settings, ranges).plain)
    row.record = {**row.record, RECORD_KEY: {**test, "ranges": ranges}}
