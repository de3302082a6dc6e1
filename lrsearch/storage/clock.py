"""The database's own clock: the only one that leases and a study's wall clock are measured by."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Float, case
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from lrsearch.storage.tables import StudyRow

LONGEST_TICK = 30.0
"""Seconds without a sign of work after which a study's clock stands still."""


class database_now(FunctionElement[float]):
    """Seconds since 1970 at the moment the statement runs, in the database."""

    type = Float()
    inherit_cache = True


@compiles(database_now)
def _standard(element: database_now, compiler: Any, **_: Any) -> str:
    return "EXTRACT(EPOCH FROM CURRENT_TIMESTAMP)"


@compiles(database_now, "postgresql")
def _postgresql(element: database_now, compiler: Any, **_: Any) -> str:
    # CURRENT_TIMESTAMP stands still in a transaction; one that waited for a lock would be late.
    return "CAST(EXTRACT(EPOCH FROM clock_timestamp()) AS DOUBLE PRECISION)"


@compiles(database_now, "sqlite")
def _sqlite(element: database_now, compiler: Any, **_: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


def ticked() -> dict[str, Any]:
    """What an update of a study's row sets when somebody has just worked on it."""
    since = database_now() - StudyRow.ticked_at
    worked = case((since.between(0.0, LONGEST_TICK), since), else_=0.0)
    return {"seconds": StudyRow.seconds + worked, "ticked_at": database_now()}
