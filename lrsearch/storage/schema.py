"""Making and changing tables: one process at a time, each change whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from sqlalchemy import Connection, MetaData, NullPool, create_engine, event, inspect, text

from lrsearch.storage.engine import server_arguments
from lrsearch.storage.sqlite import file_of, open_file

_LOCK = 0x6C727365  # "lrse"
_LOCK_SECONDS = 60

Step = Callable[[Connection], None]
"""Changes the tables of one version into those of the next, in the transaction it is given."""


@contextmanager
def changing(url: str) -> Iterator[Connection]:
    """A transaction, definitions of tables included, that only one process has at a time.

    It is committed at the end of the block and rolled back by an error or the death of the process.
    A SQLite file that is missing is made. Raises SQLAlchemy's DBAPIError, also where another
    process has not ended its own within a minute.
    """
    file = file_of(url)
    if file is not None:
        engine = create_engine(url, poolclass=NullPool, creator=partial(open_file, file, True))
        # By itself Python's driver begins a transaction before INSERT, UPDATE and DELETE alone.
        event.listen(engine, "connect", _begin_by_hand)
        event.listen(engine, "begin", _begin_immediate)
    else:
        engine = create_engine(url, poolclass=NullPool, connect_args=server_arguments(url))
    try:
        with engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                # Neither this lock nor one that a table needs may be waited for without end.
                connection.execute(text(f"SET LOCAL lock_timeout = '{_LOCK_SECONDS}s'"))
                # One of the transaction, not of the session: a pooler may share the session.
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
    """Take the steps that lead on from the stored version; the versions before and after each.

    Each step is one transaction together with the version it leads to, so that a migration that
    was interrupted goes on where it was, and of two at once each step is taken by one.
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
    """Tables that have a name of `metadata` but lack columns of it: those of another program."""
    inspector = inspect(connection)
    present = set(inspector.get_table_names()) | set(inspector.get_view_names())
    return sorted(
        name
        for name, table in metadata.tables.items()
        if name in present
        and not set(table.columns.keys()) <= {one["name"] for one in inspector.get_columns(name)}
    )
