"""Index of a database's studies: their states, which of them wait for workers, and refusals.

A refusal records why the workers of a host cannot serve a study.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, delete, func, or_, select
from sqlalchemy.orm import Session, sessionmaker

from lrsearch.errors import UserError
from lrsearch.queue.leasing import holds, running_count
from lrsearch.queue.shares import due
from lrsearch.states import UNFINISHED, Outcome, StudyState, WorkState
from lrsearch.storage.clock import database_now
from lrsearch.storage.database import Database
from lrsearch.storage.tables import (
    LOCK,
    AuxiliaryRunRow,
    EvaluationRow,
    JobRow,
    RefusalRow,
    StudyRow,
    TrialSlotRow,
)
from lrsearch.study.service import service_of
from lrsearch.text.hints import closest
from lrsearch.text.redaction import redacted

_TABLES: tuple[type[TrialSlotRow | AuxiliaryRunRow], ...] = (TrialSlotRow, AuxiliaryRunRow)
_NONE = {WorkState.OPEN: 0, WorkState.RUNNING: 0, WorkState.DONE: 0}


@dataclass(frozen=True)
class Waiting:
    """An open study with trial slots or auxiliary runs that are not done."""

    study_id: int
    name: str
    runs: int
    """Number of times it was run or submitted, or its ranges were found.

    Each time, its settings may have changed.
    """
    priority: int
    share: float
    due: float
    """When it is next, as `queue.shares` has it."""
    needs: Mapping[str, Any]
    """What a worker must have."""
    running: int
    """Number of its trial slots and auxiliary runs that are running."""

    def same_as(self, other: Waiting) -> bool:
        """Return whether the settings loaded for one are valid for the other."""
        return (self.study_id, self.runs) == (other.study_id, other.runs)


@dataclass(frozen=True)
class StudyStatus:
    """A study as `status` shows it."""

    study_id: int
    name: str
    state: str
    stopped: str | None
    """Why the study is not open; None while it is."""
    service: Mapping[str, Any]
    """How workers serve it: the keys and values of `ServiceSettings`, as they are stored."""
    counts: Mapping[str, int]
    """Number of trial slots in each state."""
    auxiliary_counts: Mapping[str, int]
    """Number of auxiliary runs in each state."""
    refusals: Mapping[str, str]
    """Reasons of the hosts that cannot serve it, by host."""
    checkpoints: str

    @property
    def work(self) -> Mapping[str, int]:
        """Number of trial slots and auxiliary runs together in each state."""
        return {state: count + self.auxiliary_counts[state] for state, count in self.counts.items()}

    @property
    def shown_state(self) -> str:
        """State for people and programs: `done` once all work has ended, else the stored one."""
        return (
            WorkState.DONE if self.work[WorkState.DONE] == sum(self.work.values()) else self.state
        )


def study_row(session: Session, database: Database, name: str) -> StudyRow:
    """A study's row by name, in a transaction on the database.

    Raises UserError listing the studies there are.
    """
    row = session.scalar(select(StudyRow).where(StudyRow.name == name))
    if row is None:
        raise no_such_study(database, name, session.scalars(select(StudyRow.name)))
    return row


def no_such_study(database: Database, name: str, known: Iterable[str]) -> UserError:
    """Return the error for a missing study, with the closest name and all existing ones."""
    names = list(known)
    return UserError(
        f"no study {name!r} in {redacted(database.url)}{closest(name, names)} "
        f"(there: {', '.join(names) or 'none'})"
    )


def status_of(database: Database, name: str) -> StudyStatus:
    """Return one study by name. Raises UserError, which lists the existing ones."""
    studies = StudyIndex(database.session).statuses()
    for study in studies:
        if study.name == name:
            return study
    raise no_such_study(database, name, [study.name for study in studies])


def _counted(
    session: Session, table: type[TrialSlotRow | AuxiliaryRunRow]
) -> dict[int, dict[str, int]]:
    """Return the number of rows in each state, by study; dropped runs are not counted."""
    counted: dict[int, dict[str, int]] = {}
    for study_id, state, count in session.execute(
        select(table.study_id, table.state, func.count())
        .where(or_(table.outcome.is_(None), table.outcome != Outcome.DROPPED))
        .group_by(table.study_id, table.state)
    ):
        counted.setdefault(study_id, {})[state] = count
    return counted


class StudyIndex:
    """Reads the studies of a database, deletes them, and records refusals."""

    def __init__(self, session: sessionmaker[Session]) -> None:
        self._session = session

    def waiting(self, only: Collection[str] = ()) -> list[Waiting]:
        """Return open studies with work left, the oldest first; `only` the named ones."""
        left = [
            select(table.state)
            .where(table.study_id == StudyRow.study_id, table.state.in_(UNFINISHED))
            .exists()
            for table in _TABLES
        ]
        query = (
            select(
                StudyRow.study_id,
                StudyRow.name,
                StudyRow.runs,
                StudyRow.priority,
                StudyRow.share,
                due(),
                StudyRow.needs,
                running_count(StudyRow.study_id),
            )
            .where(StudyRow.state == StudyState.OPEN, or_(*left))
            .order_by(StudyRow.study_id)
        )
        if only:
            query = query.where(StudyRow.name.in_(only))
        with self._session() as session:
            return [Waiting(*row) for row in session.execute(query)]

    def statuses(self) -> list[StudyStatus]:
        """Return all studies, the oldest first."""
        with self._session() as session:
            slots, auxiliary_runs = (
                _counted(session, TrialSlotRow),
                _counted(session, AuxiliaryRunRow),
            )
            refusals: dict[int, dict[str, str]] = {}
            for row in session.scalars(select(RefusalRow)):
                refusals.setdefault(row.study_id, {})[row.host] = row.reason
            return [
                StudyStatus(
                    study_id=row.study_id,
                    name=row.name,
                    state=row.state,
                    stopped=row.stopped,
                    service=service_of(row),
                    counts=_NONE | slots.get(row.study_id, {}),
                    auxiliary_counts=_NONE | auxiliary_runs.get(row.study_id, {}),
                    refusals=refusals.get(row.study_id, {}),
                    checkpoints=row.record["checkpoints"],
                )
                for row in session.scalars(select(StudyRow).order_by(StudyRow.study_id))
            ]

    def running_now(self, study_id: int) -> int:
        """Return the number of trial slots and auxiliary runs of a study with a valid lease."""
        with self._session() as session:
            return sum(
                session.scalar(
                    select(func.count()).where(
                        table.study_id == study_id,
                        table.state == WorkState.RUNNING,
                        holds(table),
                    )
                )
                or 0
                for table in _TABLES
            )

    def delete(self, study_id: int) -> None:
        """Remove a study from lrsearch's tables."""
        with self._session.begin() as session:
            for table in (
                EvaluationRow,
                RefusalRow,
                JobRow,
                AuxiliaryRunRow,
                TrialSlotRow,
                StudyRow,
            ):
                session.execute(delete(table).where(table.study_id == study_id))

    def refuse(self, study_id: int, host: str, reason: str) -> None:
        """Record why a host cannot serve a study."""
        with self._session.begin() as session:
            session.execute(delete(RefusalRow).where(*self._at(study_id, host)))
            if session.get(StudyRow, study_id, with_for_update=LOCK) is None:
                return  # the study was deleted
            session.add(
                RefusalRow(study_id=study_id, host=host, reason=reason, at=self._now(session))
            )

    def accept(self, study_id: int, host: str) -> None:
        """Delete a host's refusal of a study, which it can serve now."""
        with self._session.begin() as session:
            session.execute(delete(RefusalRow).where(*self._at(study_id, host)))

    @staticmethod
    def _at(study_id: int, host: str) -> tuple[ColumnElement[bool], ...]:
        return (RefusalRow.study_id == study_id, RefusalRow.host == host)

    @staticmethod
    def _now(session: Session) -> float:
        return float(session.scalar(select(database_now())) or 0.0)
