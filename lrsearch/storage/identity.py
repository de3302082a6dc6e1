"""Check that a database is still the one that was opened, with tables of the same version.

Each database has a random identity, so that another one in its place (dropped and created anew, or
a copy) is not written to by mistake. Of a SQLite file the inode is compared, too: writes to a
deleted file that is still open would be lost. The version is compared so that a process of an
older lrsearch does not write to tables that were upgraded while it had them open.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path

from sqlalchemy import Connection, Engine, event, select
from sqlalchemy.exc import DBAPIError

from lrsearch.storage.sqlite import DatabaseReplaced, file_of, open_file
from lrsearch.storage.tables import SCHEMA_VERSION, IdentityRow, VersionRow

_TABLE = IdentityRow.__tablename__
_ANOTHER_FILE = (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
"""Error codes of a file without the table, or with the log (WAL) of another file."""
_BOTH = select(
    select(IdentityRow.identity).scalar_subquery(), select(VersionRow.version).scalar_subquery()
)
_ADVICE = "nothing more is written to it; to go on, put the database back, or begin anew"


def watch(engine: Engine, url: str, shown: str) -> None:
    """Have each transaction of an engine raise DatabaseReplaced if the database is another one.

    `shown` is the URL without its password.
    """
    with engine.connect() as connection:
        known = connection.scalars(select(IdentityRow.identity)).one()
    file = file_of(url)
    if file is not None:
        event.listen(engine, "begin", _FileCheck(file, known))
        event.listen(engine, "begin", partial(_check_version, shown))
    else:
        event.listen(engine, "begin", _ServerCheck(shown, known))


def _check_version(shown: str, connection: Connection) -> None:
    _compare_versions(shown, connection.scalar(select(VersionRow.version)))


def _compare_versions(shown: str, version: int | None) -> None:
    if version != SCHEMA_VERSION:
        raise DatabaseReplaced(
            f"the database {shown} has tables of version {version} now, this lrsearch needs "
            f"{SCHEMA_VERSION}: it was upgraded; nothing more is written to it; to go on, start "
            f"again with the lrsearch that has upgraded it"
        )


class _ServerCheck:
    """Compares the identity and the version of a server's database, by one statement."""

    def __init__(self, shown: str, known: str) -> None:
        self._shown, self._known = shown, known

    def __call__(self, connection: Connection) -> None:
        try:
            current, version = connection.execute(_BOTH).one()
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) != "42P01":  # undefined_table
                raise
            current = version = None
        if current != self._known:
            raise DatabaseReplaced(
                f"the database {self._shown} is no longer the one that was opened: it was dropped "
                f"and created anew; {_ADVICE}"
            )
        _compare_versions(self._shown, version)


class _FileCheck:
    """Compares the inode of a SQLite file and, if the file was written to, its identity."""

    def __init__(self, file: Path, known: str) -> None:
        self._file, self._known = file, known
        stat = file.stat()
        self._inode = (stat.st_dev, stat.st_ino)
        self._written = (stat.st_mtime_ns, stat.st_size)

    def __call__(self, _: Connection) -> None:
        try:
            stat = self._file.stat()
        except FileNotFoundError:
            raise DatabaseReplaced(
                f"the database {self._file} is no longer there: it was moved or deleted; {_ADVICE}"
            ) from None
        written = (stat.st_mtime_ns, stat.st_size)
        if (stat.st_dev, stat.st_ino) == self._inode:
            if written == self._written:
                return
            # The file was written to: by SQLite, seldom (it writes to the WAL), or another program.
            try:
                is_same = self._read() == self._known
            except sqlite3.Error:
                return  # it cannot be read at the moment: the next transaction tries again
            if is_same:
                self._written = written
                return
        raise DatabaseReplaced(
            f"the database {self._file} is no longer the one that was opened: another file was put "
            f"in its place; {_ADVICE}"
        )

    def _read(self) -> str | None:
        """Read the identity by a new connection: an open one may not read the file again."""
        try:
            with closing(open_file(self._file, read=True)) as connection:
                row = connection.execute(f"SELECT identity FROM {_TABLE}").fetchone()
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode & 0xFF in _ANOTHER_FILE:
                return None
            raise
        return None if row is None else str(row[0])
