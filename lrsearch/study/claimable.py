"""What the studies of a database have for a worker that looks for work, read without any lock.

Only a claim (`lrsearch.queue.claims`) says whether a worker gets it. But a worker loads a study,
and tries to claim, only where there is something.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Row, case, func, not_, select
from sqlalchemy.orm import Session, sessionmaker

from lrsearch.queue.leasing import LONGEST_LEASE, holds
from lrsearch.settings import QueueSettings
from lrsearch.states import RunKind, WorkState
from lrsearch.storage.tables import AuxiliaryRunRow, StudyRow, TrialSlotRow


@dataclass(frozen=True)
class Claimable:
    """What a study has for a worker that looks for work."""

    is_open: bool
    """Whether there is open work that can begin."""
    is_expired: bool
    """Whether there is work, with room for it, whose lease has run out: its worker has died, or
    fallen silent."""
    holders: int
    """Number of workers that hold valid leases on its work."""
    lease: float
    """Its longest lease so far in seconds."""
    waits: bool
    """Whether there is open work that cannot begin: before the ranges are found, or without room
    for it (`study.max_running`)."""


class _Running(NamedTuple):
    """Numbers of the running rows of a study in one table."""

    expired: int
    held: int
    """Rows with a valid lease."""
    holders: int
    """Their owners."""


def claimable(session_of: sessionmaker[Session], study_ids: Iterable[int]) -> dict[int, Claimable]:
    """Return what studies have for a worker, by id; without those that were deleted."""
    ids = list(study_ids)
    tests_ranges = AuxiliaryRunRow.kind == RunKind.RANGE_TEST
    with session_of() as session:
        studies = session.execute(
            select(
                StudyRow.study_id,
                StudyRow.max_running,
                StudyRow.record[LONGEST_LEASE].as_float().label("lease"),
                _any(TrialSlotRow, TrialSlotRow.state == WorkState.OPEN).label("slots"),
                _any(AuxiliaryRunRow, AuxiliaryRunRow.state == WorkState.OPEN).label("runs"),
                _any(AuxiliaryRunRow, AuxiliaryRunRow.state != WorkState.DONE, tests_ranges).label(
                    "tests_ranges"
                ),
            ).where(StudyRow.study_id.in_(ids))
        ).all()
        running = [_running(session, table, ids) for table in (TrialSlotRow, AuxiliaryRunRow)]
    return {
        study.study_id: _claimable(
            study, [rows[study.study_id] for rows in running if study.study_id in rows]
        )
        for study in studies
    }


def _claimable(study: Row[Any], running: list[_Running]) -> Claimable:
    held = sum(row.held for row in running)
    has_room = study.max_running is None or held < study.max_running
    # A trial's recipe can be suggested only once the range test has found the ranges.
    is_open = bool(has_room and (study.runs or (study.slots and not study.tests_ranges)))
    return Claimable(
        is_open=is_open,
        is_expired=has_room and any(row.expired for row in running),
        holders=sum(row.holders for row in running),
        lease=QueueSettings().lease if study.lease is None else study.lease,
        waits=bool(study.slots or study.runs) and not is_open,
    )


def _any(
    table: type[TrialSlotRow | AuxiliaryRunRow], *conditions: ColumnElement[bool]
) -> ColumnElement[bool]:
    """Return whether any row of a study meets the conditions."""
    return select(table.state).where(table.study_id == StudyRow.study_id, *conditions).exists()


def _running(
    session: Session, table: type[TrialSlotRow | AuxiliaryRunRow], study_ids: list[int]
) -> dict[int, _Running]:
    """Return the numbers of a table's running rows, by study."""
    is_held = holds(table)
    query = (
        select(
            table.study_id,
            func.count(case((not_(is_held), 1))),
            func.count(case((is_held, 1))),
            func.count(case((is_held, table.owner)).distinct()),
        )
        .where(table.study_id.in_(study_ids), table.state == WorkState.RUNNING)
        .group_by(table.study_id)
    )
    return {study_id: _Running(*counts) for study_id, *counts in session.execute(query)}
