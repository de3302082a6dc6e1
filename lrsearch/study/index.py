"""The studies of a database that wait for workers, and why some hosts leave some alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import ColumnElement, delete, func, or_, select
from sqlalchemy.orm import Session, sessionmaker

from lrsearch.errors import UserError
from lrsearch.queue.leasing import holds
from lrsearch.states import Outcome, StudyState, WorkState
from lrsearch.storage.clock import database_now
from lrsearch.storage.database import Database
from lrsearch.storage.tables import (
    AuxiliaryRunRow,
    EvaluationRow,
    RefusalRow,
    StudyRow,
    TrialSlotRow,
)
from lrsearch.text.hints import closest
from lrsearch.text.redaction import redacted

_NONE = {WorkState.OPEN: 0, WorkState.RUNNING: 0, WorkState.DONE: 0}


@dataclass(frozen=True)
class Waiting:
    """An open study with trial slots or auxiliary runs that are not done."""

    study_id: int
    name: str
    runs: int
    """How often it was run or submitted, or its ranges found: each may have changed settings."""

    def same_as(self, other: Waiting) -> bool:
        """Whether what was loaded for one serves the other."""
        return (self.study_id, self.runs) == (other.study_id, other.runs)


@dataclass(frozen=True)
class StudyStatus:
    """A study as `status` shows it."""

    study_id: int
    name: str
    state: str
    stopped: str | None
    """Why it is not open."""
    priority: int
    counts: Mapping[str, int]
    """Units by their state."""
    auxiliary_counts: Mapping[str, int]
    """Auxiliary runs by their state."""
    refusals: Mapping[str, str]
    """Why some hosts leave it alone."""
    checkpoints: str

    @property
    def work(self) -> Mapping[str, int]:
        """Trial slots and auxiliary runs together by their state."""
        return {state: count + self.auxiliary_counts[state] for state, count in self.counts.items()}

    @property
    def shown_state(self) -> str:
        """As people and programs are told: all of a study that is done has ended."""
        return (
            WorkState.DONE if self.work[WorkState.DONE] == sum(self.work.values()) else self.state
        )


def no_such_study(database: Database, name: str, known: Iterable[str]) -> UserError:
    """What to raise for a study that is not there: the closest name, and those there are."""
    names = list(known)
    return UserError(
        f"no study {name!r} in {redacted(database.url)}{closest(name, names)} "
        f"(there: {', '.join(names) or 'none'})"
    )


def status_of(database: Database, name: str) -> StudyStatus:
    """One study by name. Raises UserError listing those there are."""
    studies = StudyIndex(database.session).statuses()
    for study in studies:
        if study.name == name:
            return study
    raise no_such_study(database, name, [study.name for study in studies])


def _counted(
    session: Session, table: type[TrialSlotRow | AuxiliaryRunRow]
) -> dict[int, dict[str, int]]:
    """How many rows of each study are in each state; runs that were dropped count nowhere."""
    counted: dict[int, dict[str, int]] = {}
    for study_id, state, count in session.execute(
        select(table.study_id, table.state, func.count())
        .where(or_(table.outcome.is_(None), table.outcome != Outcome.DROPPED))
        .group_by(table.study_id, table.state)
    ):
        counted.setdefault(study_id, {})[state] = count
    return counted


class StudyIndex:
    """Reads and marks the studies of a database."""

    def __init__(self, session: sessionmaker[Session]) -> None:
        self._session = session

    def waiting(self, only: str | None = None) -> list[Waiting]:
        """Open studies with work left, by priority, then the oldest first; or only one by name."""
        left = [
            select(table.state)
            .where(table.study_id == StudyRow.study_id, table.state != WorkState.DONE)
            .exists()
            for table in (TrialSlotRow, AuxiliaryRunRow)
        ]
        query = (
            select(StudyRow.study_id, StudyRow.name, StudyRow.runs)
            .where(StudyRow.state == StudyState.OPEN, or_(*left))
            .order_by(StudyRow.priority.desc(), StudyRow.study_id)
        )
        if only is not None:
            query = query.where(StudyRow.name == only)
        with self._session() as session:
            return [Waiting(*row) for row in session.execute(query)]

    def statuses(self) -> list[StudyStatus]:
        """All studies, the oldest first."""
        with self._session() as session:
            units, auxiliary_runs = (
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
                    priority=row.priority,
                    counts=_NONE | units.get(row.study_id, {}),
                    auxiliary_counts=_NONE | auxiliary_runs.get(row.study_id, {}),
                    refusals=refusals.get(row.study_id, {}),
                    checkpoints=row.record["checkpoints"],
                )
                for row in session.scalars(select(StudyRow).order_by(StudyRow.study_id))
            ]

    def running_now(self, study_id: int) -> int:
        """How many trial slots and auxiliary runs of a study have an owner whose lease holds."""
        tables: tuple[type[TrialSlotRow | AuxiliaryRunRow], ...] = (TrialSlotRow, AuxiliaryRunRow)
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
                for table in tables
            )

    def delete(self, study_id: int) -> None:
        """Remove a study from lrsearch's tables."""
        with self._session.begin() as session:
            for table in (EvaluationRow, RefusalRow, AuxiliaryRunRow, TrialSlotRow, StudyRow):
                session.execute(delete(table).where(table.study_id == study_id))

    def refuse(self, study_id: int, host: str, reason: str) -> None:
        """Record why a host leaves a study alone."""
        with self._session.begin() as session:
            session.execute(delete(RefusalRow).where(*self._at(study_id, host)))
            if session.get(StudyRow, study_id, with_for_update=True) is None:
                return  # deleted meanwhile
            session.add(
                RefusalRow(study_id=study_id, host=host, reason=reason, at=self._now(session))
            )

    def accept(self, study_id: int, host: str) -> None:
        """The host serves the study: what it had against it is gone."""
        with self._session.begin() as session:
            session.execute(delete(RefusalRow).where(*self._at(study_id, host)))

    @staticmethod
    def _at(study_id: int, host: str) -> tuple[ColumnElement[bool], ...]:
        return (RefusalRow.study_id == study_id, RefusalRow.host == host)

    @staticmethod
    def _now(session: Session) -> float:
        return float(session.scalar(select(database_now())) or 0.0)
