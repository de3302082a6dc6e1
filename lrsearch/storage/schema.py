"""Transactions that create and change tables: one process at a time, all or nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from sqlalchemy import Connection, MetaData, NullPool, create_engine, event, inspect, text

from lrsearch.storage.engine import server_arguments
from lrsearch.storage.sqlite import file_of, open_file

_LOCK = 0x6C727365  # "lrse"
"""Key of PostgreSQL's advisory lock."""
_LOCK_SECONDS = 60

Step = Callable[[Connection], None]
"""Upgrades the tables by one version, in the transaction of the given connection."""


@contextmanager
def changing(url: str) -> Iterator[Connection]:
    """Open a transaction, table definitions included, that only one process can have at a time.

    It is committed at the end of the block, and rolled back by an error or the death of the
    process. A missing SQLite file is created. Raises SQLAlchemy's DBAPIError, also where another
    process holds its transaction for more than a minute.
    """
    file = file_of(url)
    if file is not None:
        engine = create_engine(url, poolclass=NullPool, creator=partial(open_file, file, True))
        # By default Python's driver begins a transaction only before INSERT, UPDATE and DELETE.
        event.listen(engine, "connect", _begin_by_hand)
        event.listen(engine, "begin", _begin_immediate)
    else:
        engine = create_engine(url, poolclass=NullPool, connect_args=server_arguments(url))
    try:
        with engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                # Limit the wait for this lock and for those of tables.
                connection.execute(text(f"SET LOCAL lock_timeout = '{_LOCK_SECONDS}s'"))
                # A lock of the transaction, not of the session, which a pooler may share.
                connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
            yield connection
    finally:
        engine.dispose()


def _begin_by_hand(connection: Any, _: Any) -> None:
    connection.isolation_level = None


def _begin_immediate(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def migrate(
    url: str,
    steps: Mapping[int, Step],
    version: Callable[[Connection], int],
    set_version: Callable[[Connection, int], None],
) -> list[tuple[int, int]]:
    """Take the steps from the stored version on; return the versions before and after each.

    Each step is stored in one transaction with its new version: an interrupted migration can be
    repeated, and two processes at once take each step once.
    """
    taken: list[tuple[int, int]] = []
    while True:
        with changing(url) as connection:
            before = version(connection)
            if before not in steps:
                return taken
            steps[before](connection)
            set_version(connection, before + 1)
        taken.append((before, before + 1))


def foreign_tables(connection: Connection, metadata: MetaData) -> list[str]:
    """Return the tables with a name of `metadata` that lack its columns: another program's."""
    inspector = inspect(connection)
    present = set(inspector.get_table_names()) | set(inspector.get_view_names())
    return sorted(
        name
        for name, table in metadata.tables.items()
        if name in present
        and not set(table.columns.keys())
        <= {column["name"] for column in inspector.get_columns(name)}
    )
