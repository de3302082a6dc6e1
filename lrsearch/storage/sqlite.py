"""The file of a SQLite database: how it is opened, and what is wrong with it."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from urllib.parse import quote

from sqlalchemy.engine import make_url

from lrsearch.errors import LrsearchError

BUSY_SECONDS = 60
"""How long a statement waits for a lock of another process."""
_NEEDS_ITS_FOLDER = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)
_NEEDS_ROOM = (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL)


class DatabaseReplaced(LrsearchError):
    """The database is no longer the one that was opened: deleted, replaced, or made anew."""


def file_of(url: str) -> Path | None:
    """The absolute path of a SQLite database; None for a server."""
    parts = make_url(url)
    return Path(parts.database or "").absolute() if parts.get_backend_name() == "sqlite" else None


def fault_of(url: str, write: bool) -> str | None:
    """What is wrong with the file of a SQLite database, to read it or to `write`, if anything."""
    file = file_of(url)
    if file is None:
        return None
    if not file.exists():
        return None if file.parent.is_dir() else f"there is no folder {file.parent}"
    if not file.is_file():
        return f"{file} is not a file"
    if not _allows(file, os.R_OK):
        return f"{file} may not be read"
    if write and not _allows(file, os.W_OK):
        return f"{file} may not be written to"
    if write and not _allows(file.parent, os.W_OK):
        return f"{file.parent} may not be written to, where SQLite keeps files beside its own"
    return None


def open_file(file: Path, create: bool = False, read: bool = False) -> sqlite3.Connection:
    """A connection to the file; only with `create` is a missing one made.

    A database in WAL mode keeps two files beside its own. Where these cannot be written, as on a
    read-only disk, or, for who only wants to `read`, on a full one, it is opened as one that does
    not change. Raises DatabaseReplaced where the file is missing, and sqlite3.Error.
    """
    passes = (*_NEEDS_ITS_FOLDER, *_NEEDS_ROOM) if read else _NEEDS_ITS_FOLDER
    if not create and not file.exists():
        raise DatabaseReplaced(f"the database {file} is no longer there: it was moved or deleted")
    if create or _allows(file, os.W_OK):
        try:
            return _connect(file, "mode=rwc" if create else "mode=rw")
        except sqlite3.OperationalError as error:
            if create or _primary(error) not in passes:
                raise
    log = Path(f"{file}-wal")
    if log.exists():
        try:
            return _connect(file, "mode=ro")  # somebody is writing, or has died of it
        except sqlite3.OperationalError as error:
            if log.stat().st_size or _primary(error) not in passes:
                raise
    # SQLite looks for no log then: there must be none.
    return _connect(file, "mode=ro&immutable=1")


def _connect(file: Path, options: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"file:{quote(str(file))}?{options}",
        uri=True,
        timeout=BUSY_SECONDS,
        check_same_thread=False,  # a pool hands it from thread to thread, to one at a time
    )
    try:
        # Opens the file, which `connect` does not, and its log.
        connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
        connection.execute("PRAGMA synchronous=NORMAL")
        # Whoever writes the page of this number copies all of them into the database and waits for
        # the disk, a tenth of a second. At the default of 1,000 that was one write in a hundred.
        connection.execute("PRAGMA wal_autocheckpoint=10000")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _allows(path: Path, what: int) -> bool:
    return os.access(path, what, effective_ids=os.access in os.supports_effective_ids)


def _primary(error: sqlite3.Error) -> int:
    """The primary result code, which the extended one has in its lowest byte."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF
