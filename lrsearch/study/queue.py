"""The queue of a study's budget units: what keeps the total, whoever works on it."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psutil
from sqlalchemy import ColumnElement, delete, func, select, update
from sqlalchemy.orm import Session, sessionmaker

from lrsearch.study.tables import DONE, FAILED, OPEN, RUNNING, EpochRow, StudyRow, UnitRow

MAX_ATTEMPTS = 3
"""A unit that ended its worker so often is failed."""
FAILURES_IN_A_ROW = 3
"""So many failed trials one after the other stop the sweep."""
_CLOCK_SECONDS = 30
"""A process that seems to have started so much earlier or later is another one."""


@dataclass(frozen=True)
class Unit:
    """A claimed unit."""

    unit_id: int
    number: int
    params: Mapping[str, Any]
    seed: int
    attempts: int
    trial_id: int | None


@dataclass(frozen=True)
class Outcome:
    """How a unit ended."""

    outcome: str
    value: float | None = None
    reason: str | None = None
    step: int | None = None
    lr: float | None = None


def owner_name() -> str:
    """This process, by host, number and start: no later process has the same name."""
    process = psutil.Process()
    return f"{socket.gethostname()}/{process.pid}/{process.create_time():.2f}"


def is_dead(owner: str) -> bool:
    """Whether an owner is known to be gone: of this host, and no longer running."""
    host, pid, started = owner.rsplit("/", 2)
    if host != socket.gethostname():
        return False
    try:
        process = psutil.Process(int(pid))
        # The start is reckoned from the clock, which may have been set since.
        another = abs(process.create_time() - float(started)) > _CLOCK_SECONDS
        return another or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


class Queue:
    """The units of one study. Each method is one short transaction."""

    def __init__(self, session: sessionmaker[Session], study_id: int) -> None:
        self._session = session
        self.study_id = study_id

    def add(self, units: Iterable[tuple[Mapping[str, Any], int]], first: int = 0) -> None:
        """Adds open units, numbered from `first`, each with given parameters and a seed."""
        with self._session.begin() as session:
            self.add_to(session, self.study_id, units, first)

    @staticmethod
    def add_to(
        session: Session,
        study_id: int,
        units: Iterable[tuple[Mapping[str, Any], int]],
        first: int = 0,
    ) -> None:
        """The same in a transaction of the caller's."""
        session.add_all(
            UnitRow(study_id=study_id, number=first + k, params=dict(params), seed=seed)
            for k, (params, seed) in enumerate(units)
        )

    def total(self) -> int:
        """The number of units."""
        with self._session() as session:
            mine = select(func.count()).where(UnitRow.study_id == self.study_id)
            return session.scalar(mine) or 0

    def trim(self, total: int) -> int:
        """Takes away untouched units from number `total` on; how many units are left."""
        with self._session.begin() as session:
            session.execute(delete(UnitRow).where(*self._untouched(), UnitRow.number >= total))
        return self.total()

    def replan(self, units: Sequence[tuple[Mapping[str, Any], int]]) -> None:
        """Gives untouched units the parameters of a new plan, where the sampler has changed."""
        with self._session.begin() as session:
            untouched = session.scalars(
                select(UnitRow).where(*self._untouched(), UnitRow.number < len(units))
            )
            for row in untouched:
                row.params = dict(units[row.number][0])

    def _untouched(self) -> tuple[ColumnElement[bool], ...]:
        """Open and without a trial: one that was handed back has a trial that must be finished."""
        return (
            UnitRow.study_id == self.study_id,
            UnitRow.state == OPEN,
            UnitRow.attempts == 0,
            UnitRow.trial_id.is_(None),
        )

    def counts(self) -> dict[str, int]:
        """How many units are in each state."""
        with self._session() as session:
            rows = session.execute(
                select(UnitRow.state, func.count())
                .where(UnitRow.study_id == self.study_id)
                .group_by(UnitRow.state)
            )
            found = {str(state): int(count) for state, count in rows}
            return {OPEN: 0, RUNNING: 0, DONE: 0} | found

    def claim(self, owner: str) -> Unit | None:
        """The next open unit, now this owner's; None when there is none or the study is stopped."""
        stopped = select(StudyRow.stopped).where(StudyRow.study_id == self.study_id)
        following = (
            select(UnitRow.unit_id)
            .where(UnitRow.study_id == self.study_id, UnitRow.state == OPEN)
            .order_by(UnitRow.number)
            .limit(1)
            .with_for_update(skip_locked=True)
            .scalar_subquery()
        )
        with self._session.begin() as session:
            row = session.execute(
                update(UnitRow)
                .where(
                    UnitRow.unit_id == following,
                    UnitRow.state == OPEN,
                    stopped.scalar_subquery().is_(None),
                )
                .values(state=RUNNING, owner=owner, attempts=UnitRow.attempts + 1)
                .returning(
                    UnitRow.unit_id,
                    UnitRow.number,
                    UnitRow.params,
                    UnitRow.seed,
                    UnitRow.attempts,
                    UnitRow.trial_id,
                )
            ).first()
        return None if row is None else Unit(*row)

    def started(
        self,
        unit: Unit,
        trial_id: int,
        trial_number: int,
        recipe: Mapping[str, Any],
        device: str,
    ) -> None:
        """Notes the unit's trial; evaluations of an earlier attempt are removed."""
        with self._session.begin() as session:
            session.execute(
                update(UnitRow)
                .where(UnitRow.unit_id == unit.unit_id)
                .values(
                    trial_id=trial_id,
                    trial_number=trial_number,
                    recipe=dict(recipe),
                    device=device,
                )
            )
            session.execute(delete(EpochRow).where(EpochRow.trial_id == trial_id))

    def record(self, row: EpochRow) -> None:
        """Writes one evaluation."""
        with self._session.begin() as session:
            session.add(row)

    def finish(self, unit_id: int, outcome: Outcome, seconds: float | None = None) -> None:
        """The unit is done."""
        with self._session.begin() as session:
            # The study's row is locked until the end of the transaction: no order is given twice.
            order = session.scalar(
                update(StudyRow)
                .where(StudyRow.study_id == self.study_id)
                .values(finished=StudyRow.finished + 1)
                .returning(StudyRow.finished)
            )
            session.execute(
                update(UnitRow)
                .where(UnitRow.unit_id == unit_id)
                .values(
                    state=DONE,
                    owner=None,
                    outcome=outcome.outcome,
                    value=outcome.value,
                    reason=outcome.reason,
                    end_step=outcome.step,
                    end_lr=outcome.lr,
                    seconds=seconds,
                    finish_order=order,
                    finished_at=func.now(),
                )
            )

    def give_back(self, unit_id: int) -> None:
        """A unit that was interrupted on purpose is open again; it does not count as an attempt."""
        with self._session.begin() as session:
            session.execute(
                update(UnitRow)
                .where(UnitRow.unit_id == unit_id, UnitRow.state == RUNNING)
                .values(state=OPEN, owner=None, attempts=UnitRow.attempts - 1)
            )

    def reopen(self, unit_id: int) -> None:
        """A unit whose worker died is open again."""
        with self._session.begin() as session:
            session.execute(
                update(UnitRow)
                .where(UnitRow.unit_id == unit_id, UnitRow.state == RUNNING)
                .values(state=OPEN, owner=None)
            )

    def owned(self) -> list[UnitRow]:
        """The units that are running, whoever owns them."""
        with self._session() as session:
            rows = session.scalars(
                select(UnitRow).where(UnitRow.study_id == self.study_id, UnitRow.state == RUNNING)
            )
            return list(rows)

    def stop_after_failures(self) -> str | None:
        """Stops the study when the last trials to finish have all failed; the last one's reason."""
        with self._session.begin() as session:
            last = session.execute(
                select(UnitRow.outcome, UnitRow.reason)
                .where(UnitRow.study_id == self.study_id, UnitRow.state == DONE)
                .order_by(UnitRow.finish_order.desc())
                .limit(FAILURES_IN_A_ROW)
            ).all()
            if len(last) < FAILURES_IN_A_ROW or any(outcome != FAILED for outcome, _ in last):
                return None
            reason = str(last[0][1])
            session.execute(
                update(StudyRow)
                .where(StudyRow.study_id == self.study_id)
                .values(stopped=f"{FAILURES_IN_A_ROW} trials failed in a row; the last:\n{reason}")
            )
            return reason

    def spent(self) -> float:
        """Seconds of wall clock that all runs together have taken."""
        with self._session() as session:
            mine = select(StudyRow.seconds).where(StudyRow.study_id == self.study_id)
            return session.scalar(mine) or 0.0

    def spend(self, seconds: float) -> None:
        """Adds to that."""
        with self._session.begin() as session:
            session.execute(
                update(StudyRow)
                .where(StudyRow.study_id == self.study_id)
                .values(seconds=StudyRow.seconds + seconds)
            )
