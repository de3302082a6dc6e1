"""The file of a SQLite database: how to open it, and checks that it can be used."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from urllib.parse import quote

from sqlalchemy.engine import make_url

from lrsearch.errors import LrsearchError

BUSY_SECONDS = 60
"""Longest wait of a statement for a lock of another process."""
_NEEDS_ITS_FOLDER = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)
"""Error codes where the files beside the database cannot be created."""
_NEEDS_ROOM = (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL)
"""Error codes of a full disk."""


class DatabaseReplaced(LrsearchError):
    """The database is no longer the one that was opened: deleted, replaced, made anew, upgraded."""


def file_of(url: str) -> Path | None:
    """Return the absolute path of a SQLite database; None for a server."""
    parts = make_url(url)
    return Path(parts.database or "").absolute() if parts.get_backend_name() == "sqlite" else None


def fault_of(url: str, write: bool) -> str | None:
    """Return why a SQLite file cannot be read (or, with `write`, written to); None if it can."""
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
    """Connect to the file; a missing one is created only with `create`.

    A database in WAL mode keeps two files beside its own. Where these cannot be written, on a
    read-only disk or (with `read`) a full one, it is opened as a file that does not change. Raises
    DatabaseReplaced where the file is missing, and sqlite3.Error.
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
            return _connect(file, "mode=ro")  # a process is writing, or has died before it finished
        except sqlite3.OperationalError as error:
            if log.stat().st_size or _primary(error) not in passes:
                raise
    # With `immutable`, SQLite ignores a log: here there is none, or an empty one.
    return _connect(file, "mode=ro&immutable=1")


def _connect(file: Path, options: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"file:{quote(str(file))}?{options}",
        uri=True,
        timeout=BUSY_SECONDS,
        check_same_thread=False,  # a pool passes it between threads, which use it in turn
    )
    try:
        # Unlike `connect`, this opens the file and its log.
        connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
        connection.execute("PRAGMA synchronous=NORMAL")
        # Pages in the log from which on a write first copies them all into the database, which
        # takes a tenth of a second. At the default of 1,000 that was one write in a hundred.
        connection.execute("PRAGMA wal_autocheckpoint=10000")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _allows(path: Path, what: int) -> bool:
    return os.access(path, what, effective_ids=os.access in os.supports_effective_ids)


def _primary(error: sqlite3.Error) -> int:
    """Return the primary result code: the lowest byte of the extended one."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF
