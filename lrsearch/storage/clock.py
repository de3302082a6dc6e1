"""Clock of the database, by which leases and the wall-clock time of a study are measured."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Float, case
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from lrsearch.storage.tables import StudyRow

LONGEST_TICK = 30.0
"""Longest time in seconds between two ticks that is added to a study's wall-clock time."""


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
    since = database_now() - StudyRow.ticked_at
    worked = case((since.between(0.0, LONGEST_TICK), since), else_=0.0)
    return {"seconds": StudyRow.seconds + worked, "ticked_at": database_now()}
