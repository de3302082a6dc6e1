"""Whether a database is still the one that was opened.

It has a random number of its own, so that another one in its place (dropped and created anew, or a
copy of another) is not written to as if nothing had happened. A SQLite file also has its inode: who
keeps a deleted file open writes into nothing.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from sqlalchemy import Connection, Engine, event, select
from sqlalchemy.exc import DBAPIError

from lrsearch.storage.sqlite import DatabaseReplaced, file_of, open_file
from lrsearch.storage.tables import IdentityRow

_TABLE = IdentityRow.__tablename__
_ANOTHER_FILE = (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
"""The table is missing, or the file is not what the log beside it belongs to."""
_ADVICE = "nothing more is written to it; to go on, put the database back, or begin anew"


def watch(engine: Engine, url: str, shown: str) -> None:
    """Raise DatabaseReplaced at the start of each transaction once the database is another one.

    `shown` is the URL as it may be shown.
    """
    with engine.connect() as connection:
        known = connection.scalars(select(IdentityRow.identity)).one()
    file = file_of(url)
    if file is not None:
        event.listen(engine, "begin", _FileCheck(file, known))
    else:
        event.listen(engine, "begin", _ServerCheck(shown, known))


class _ServerCheck:
    """Compares the number of a server's database."""

    def __init__(self, shown: str, known: str) -> None:
        self._shown, self._known = shown, known

    def __call__(self, connection: Connection) -> None:
        try:
            found = connection.scalar(select(IdentityRow.identity))
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) != "42P01":  # undefined_table
                raise
            found = None
        if found != self._known:
            raise DatabaseReplaced(
                f"the database {self._shown} is no longer the one that was opened: it was dropped "
                f"and created anew; {_ADVICE}"
            )


class _FileCheck:
    """Compares the inode and, where the file was written to, the number of a SQLite database."""

    def __init__(self, file: Path, known: str) -> None:
        self._file, self._known = file, known
        seen = file.stat()
        self._inode = (seen.st_dev, seen.st_ino)
        self._written = (seen.st_mtime_ns, seen.st_size)

    def __call__(self, _: Connection) -> None:
        try:
            seen = self._file.stat()
        except FileNotFoundError:
            raise DatabaseReplaced(
                f"the database {self._file} is no longer there: it was moved or deleted; {_ADVICE}"
            ) from None
        written = (seen.st_mtime_ns, seen.st_size)
        if (seen.st_dev, seen.st_ino) == self._inode:
            if written == self._written:
                return
            # Written to: by SQLite, which does so seldom (WAL), or by another program.
            try:
                is_same = self._read() == self._known
            except sqlite3.Error:
                return  # it cannot be read at the moment: the next transaction looks again
            if is_same:
                self._written = written
                return
        raise DatabaseReplaced(
            f"the database {self._file} is no longer the one that was opened: another file was put "
            f"in its place; {_ADVICE}"
        )

    def _read(self) -> str | None:
        """The number by a connection of its own: one that is open may not read the file again."""
        try:
            with closing(open_file(self._file, read=True)) as connection:
                row = connection.execute(f"SELECT identity FROM {_TABLE}").fetchone()
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode & 0xFF in _ANOTHER_FILE:
                return None
            raise
        return None if row is None else str(row[0])
