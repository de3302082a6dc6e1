"""The database's own clock: the only one that leases are measured by."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Float
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement


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
