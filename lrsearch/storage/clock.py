"""Clock of the database, by which leases and the wall-clock time of a study are measured."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Float, case, func, or_, select, update
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Session
from sqlalchemy.sql.functions import FunctionElement

from lrsearch.storage.tables import LOCK, StudyRow

LONGEST_TICK = 30.0
"""Longest time in seconds between two ticks that is added to a study's wall-clock time."""
SHORTEST_TICK = 3.0
"""Seconds after a tick in which no other process ticks: a fleet would wait for the study's row."""


class database_now(FunctionElement[float]):
    """SQL expression: seconds since 1970 by the database's clock when the statement runs."""

    type = Float()
    inherit_cache = True


@compiles(database_now)
def _standard(element: database_now, compiler: Any, **_: Any) -> str:
    return "EXTRACT(EPOCH FROM CURRENT_TIMESTAMP)"


@compiles(database_now, "postgresql")
def _postgresql(element: database_now, compiler: Any, **_: Any) -> str:
    # CURRENT_TIMESTAMP is the start of the transaction, which may have waited for a lock since.
    return "CAST(EXTRACT(EPOCH FROM clock_timestamp()) AS DOUBLE PRECISION)"


@compiles(database_now, "sqlite")
def _sqlite(element: database_now, compiler: Any, **_: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


def ticked() -> dict[str, Any]:
    """Return the column values of a study's row that add the time since its last tick."""
    return {"seconds": StudyRow.seconds + _since_tick(), "ticked_at": database_now()}


def is_tick_due() -> ColumnElement[bool]:
    """Return the condition that a study was not ticked just now."""
    since = database_now() - StudyRow.ticked_at
    return or_(StudyRow.ticked_at.is_(None), since < 0.0, since >= SHORTEST_TICK)


def tick(session: Session, study_id: int) -> None:
    """Add the time since a study's last tick, if one is due.

    Does nothing, rather than wait, while another process writes to the study's row: the time is
    added later.
    """
    due = (
        select(StudyRow.study_id)
        .where(StudyRow.study_id == study_id, is_tick_due())
        .with_for_update(skip_locked=True, **LOCK)
    )
    session.execute(
        update(StudyRow).where(StudyRow.study_id == due.scalar_subquery()).values(ticked()),
        execution_options={"synchronize_session": False},
    )


def spent() -> ColumnElement[float]:
    """Return a study's seconds so far, with those since its last tick."""
    return StudyRow.seconds + _since_tick()


def _since_tick() -> ColumnElement[float]:
    """Return the seconds since the last tick; 0 where nobody has served the study since."""
    since = func.coalesce(database_now() - StudyRow.ticked_at, -1.0)
    return case((since.between(0.0, LONGEST_TICK), since), else_=0.0)
