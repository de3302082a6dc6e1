"""Leases on work, which has one owner at a time: how it is taken, renewed, released, taken over.

Work is a row of a trial slot or an auxiliary run. Every write is one short transaction that begins
by renewing the lease of (row, attempt). Its first statement writes, so that SQLite waits for the
lock instead of failing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import (
    ColumnElement,
    ScalarSelect,
    Select,
    bindparam,
    case,
    func,
    not_,
    select,
    update,
)
from sqlalchemy.orm import Session, sessionmaker

from lrsearch.settings import QueueSettings
from lrsearch.states import StudyState, WorkState
from lrsearch.storage.clock import database_now, is_tick_due
from lrsearch.storage.tables import AuxiliaryRunRow, StudyRow, TrialSlotRow, table_of

Row = TypeVar("Row", bound=TrialSlotRow | AuxiliaryRunRow)


LONGEST_LEASE = "longest_lease"
"""Key of a study's record: its longest `queue.lease` so far, in seconds.

Workers that loaded the study before the lease was shortened may still hold one of that length.
"""
_CLOCK_CORRECTION = 5.0
"""Seconds by which the clock may be set back without voiding all leases."""


class LeaseLost(Exception):
    """Another worker owns the work now."""


@dataclass(frozen=True)
class Orders:
    """Orders to a worker, which it gets with each write."""

    hand_back: bool
    """The study was paused or stopped: running work is to be handed back."""
    tick: bool = False
    """The study's wall-clock time is to be counted on."""


class Leasing(Generic[Row]):
    """Leases of one worker on the rows of a study in one table."""

    def __init__(
        self,
        table: type[Row],
        session: sessionmaker[Session],
        study_id: int,
        owner: str,
        terms: QueueSettings,
    ) -> None:
        self.table, self.session = table, session
        self.study_id, self.owner, self.terms = study_id, owner, terms
        self._id = key(table)
        # Built once, from tables, which are faster than ORM classes: each report runs it.
        rows, study = table_of(table), StudyRow.study_id == study_id
        orders = [
            select(column).where(study).scalar_subquery()
            for column in (StudyRow.hand_back, is_tick_due())
        ]
        self._renewal = (
            update(rows)
            .where(
                self._id == bindparam("row_id"),
                rows.c.attempts == bindparam("attempt"),
                rows.c.state == WorkState.RUNNING,
            )
            .values(leased_until=database_now() + terms.lease)
            .returning(*orders)
        )

    def take_open(self, session: Session, order: Any, *which: ColumnElement[bool]) -> Row | None:
        """Take the first open row that meets the conditions `which`, in the order of a column.

        None when there is none, the study is not open, or as much of it runs as may.
        """
        has_room = self._has_room(session)
        following = (
            select(self._id)
            .where(self.table.study_id == self.study_id, self.table.state == WorkState.OPEN, *which)
            .order_by(order)
        )
        # The state is checked again here: without row locks, two may have read the same row.
        first = (self._id == _first(following)) & (self.table.state == WorkState.OPEN)
        return session.scalar(
            update(self.table)
            .where(first, self._study_is_open(), *has_room)
            .values(
                state=WorkState.RUNNING,
                owner=self.owner,
                leased_until=database_now() + self.terms.lease,
                claimed_at=database_now(),
                attempts=self.table.attempts + 1,
            )
            .returning(self.table)
        )

    def release_expired(self, session: Session, *which: ColumnElement[bool]) -> Row | None:
        """Release the row whose lease ran out first: its owner has died, or fallen silent.

        Return it, or None when there is none or the study is not open.
        """
        expired = is_expired(self.table)
        following = (
            select(self._id)
            .where(self.table.study_id == self.study_id, expired, *which)
            .order_by(self.table.leased_until)
        )
        # A lease may also be void because the clock was set back: that counts no death.
        died = case((self.table.leased_until < database_now(), 1), else_=0)
        return session.scalar(
            update(self.table)
            .where((self._id == _first(following)) & expired, self._study_is_open())
            .values(_released(self.table, died))
            .returning(self.table)
        )

    def _has_room(self, session: Session) -> list[ColumnElement[bool]]:
        """Return the condition that less of the study runs than its `max_running`.

        It holds until the end of the transaction: the row of a study with a limit is locked, so
        that its work is claimed by one worker at a time. Without a limit nothing is locked.
        """
        study = StudyRow.study_id == self.study_id
        limit = session.scalar(
            update(StudyRow)
            .where(study, StudyRow.max_running.is_not(None))
            .values(max_running=StudyRow.max_running)
            .returning(StudyRow.max_running)
        )
        return [] if limit is None else [running_count(self.study_id) < limit]

    def _study_is_open(self) -> ColumnElement[bool]:
        state = select(StudyRow.state).where(StudyRow.study_id == self.study_id)
        return state.scalar_subquery() == StudyState.OPEN

    @contextmanager
    def own(self, row_id: int, attempt: int) -> Iterator[tuple[Session, Orders]]:
        """Open a transaction in which this worker owns the row, with its lease renewed.

        Raises LeaseLost, and changes nothing, where another worker has taken the row.
        """
        with self.session.begin() as session:
            row = session.execute(self._renewal, {"row_id": row_id, "attempt": attempt}).first()
            if row is None:
                raise LeaseLost
            hand_back, tick = map(bool, row)
            yield session, Orders(hand_back, tick)

    def is_over(self, row_id: int) -> bool:
        """Return whether the row is done, or deleted with its study."""
        with self.session() as session:
            state = session.scalar(select(self.table.state).where(self._id == row_id))
            return state is None or state == WorkState.DONE


def running_count(study_id: Any) -> ColumnElement[int]:
    """Return the number of trial slots and auxiliary runs of a study that are running.

    Those whose lease has run out count: their owner may still be at work.
    """
    slots, auxiliary_runs = (
        select(func.count())
        .where(table.study_id == study_id, table.state == WorkState.RUNNING)
        .scalar_subquery()
        for table in (TrialSlotRow, AuxiliaryRunRow)
    )
    return slots + auxiliary_runs


def holds(table: type[Row]) -> ColumnElement[bool]:
    """Return the condition that the lease of a row is valid.

    It has not run out, nor does it end later than the longest lease of the study would if renewed
    now: such a lease dates from before the clock was set back. (A living owner renews it within
    seconds.)
    """
    longest = (
        select(StudyRow.record[LONGEST_LEASE].as_float())
        .where(StudyRow.study_id == table.study_id)
        .scalar_subquery()
    )
    latest = database_now() + func.coalesce(longest, QueueSettings().lease) + _CLOCK_CORRECTION
    return table.leased_until.between(database_now(), latest)


def is_expired(table: type[Row]) -> ColumnElement[bool]:
    """Return the condition that a row's owner holds no valid lease on it any more."""
    return (table.state == WorkState.RUNNING) & not_(holds(table))


def release(
    session: Session, table: type[Row], row_id: int, attempt: int, deaths: int = 0
) -> Row | None:
    """Reopen a row of this attempt, and add `deaths`; None where another has it, or it is done."""
    return session.scalar(
        update(table)
        .where(key(table) == row_id, table.attempts == attempt, table.state == WorkState.RUNNING)
        .values(_released(table, deaths))
        .returning(table)
    )


def _released(table: type[Row], deaths: int | ColumnElement[int]) -> dict[str, Any]:
    """Return the column values that reopen a row and add `deaths`, and the attempt's seconds."""
    return {
        "seconds": func.coalesce(table.seconds, 0.0) + (database_now() - table.claimed_at),
        "state": WorkState.OPEN,
        "owner": None,
        "leased_until": None,
        "deaths": table.deaths + deaths,
    }


def key(table: type[Row]) -> Any:
    """Return the column of the primary key."""
    return table.__mapper__.primary_key[0]


def _first(query: Select[Any]) -> ScalarSelect[Any]:
    """The first row, skipping those that others are just taking."""
    return query.limit(1).with_for_update(skip_locked=True).scalar_subquery()
