"""The connection to the database: one engine for Optuna's tables and lrsearch's own."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import Connection, Engine, insert, inspect, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, sessionmaker

from lrsearch.errors import UserError
from lrsearch.storage.engine import connect
from lrsearch.storage.identity import watch
from lrsearch.storage.outages import persist
from lrsearch.storage.schema import changing, foreign_tables
from lrsearch.storage.sqlite import BUSY_SECONDS, fault_of, file_of
from lrsearch.storage.tables import SCHEMA_VERSION, Base, IdentityRow, VersionRow
from lrsearch.text.redaction import learn, redacted

_PASSWORD = re.compile("password|auth(entication)? failed")
"""Finds what PostgreSQL and PgBouncer say of a password that is wrong or missing."""
_PASSWORD_SOURCES = (
    "the password is taken from the file that LRSEARCH_STORAGE_PASSWORD_FILE names, where the URL "
    "has none, or else from ~/.pgpass"
)


def absolute(url: str) -> str:
    """Return the URL with the absolute path of a SQLite file, so that it is valid in any folder."""
    parts = make_url(url)
    if parts.get_backend_name() != "sqlite":
        return url
    file = Path(parts.database or "").absolute()
    return parts.set(database=str(file)).render_as_string(hide_password=False)


def existing(url: str) -> str:
    """Return the URL. Raises UserError where its SQLite file is missing or cannot be read."""
    file = file_of(url)
    if file is not None and not file.exists():
        raise UserError(
            f"storage.url: there is no database {redacted(url)}; a sweep makes it, or give "
            f"storage.url=... of another"
        )
    refuse_file(url, write=False)
    return url


def refuse_file(url: str, write: bool) -> None:
    """Raise UserError where a SQLite file cannot be read or, with `write`, written to."""
    if fault := fault_of(url, write):
        raise UserError(f"storage.url: cannot use the database {redacted(url)}: {fault}")


def beside(url: str, folder: str) -> Path:
    """Return a folder beside a SQLite file or, for a server, in the working directory."""
    parts = make_url(url)
    file = Path(parts.database or "") if parts.get_backend_name() == "sqlite" else Path("x")
    return (file.parent / folder).absolute()


def unusable(url: str, error: Exception) -> UserError:
    """Return the UserError for an error on opening a database, without the password."""
    reason = why(url, error)
    advice = f"; {_PASSWORD_SOURCES}" if _PASSWORD.search(reason) else ""
    return UserError(f"storage.url: cannot use the database {redacted(url)}: {reason}{advice}")


def why(url: str, error: BaseException) -> str:
    """Return the first line of a database's error, without the password."""
    learn(url)
    reason = (str(getattr(error, "orig", None) or error).strip() or repr(error)).splitlines()[0]
    return redacted(reason)


class Database:
    """An engine and sessions on lrsearch's tables, which are created if they are missing.

    A worker passes the engine of Optuna's storage, so that both together use one connection.
    Without `make` nothing is written, as for commands that need an existing database. Raises
    UserError, without the password, when the database cannot be reached, has no tables of lrsearch
    or those of another version, or has another program's tables of these names. Sessions raise
    DatabaseReplaced once another database has taken its place.
    """

    def __init__(self, url: str, engine: Engine | None = None, make: bool = True) -> None:
        self.url = url
        refuse_file(url, write=make)
        try:
            self.engine = engine or connect(url, read=not make)
            try:
                self._open(make)
            except BaseException:
                self.engine.dispose()
                raise
        except (DBAPIError, ImportError) as error:
            raise unusable(url, error) from error
        self.session: sessionmaker[Session] = sessionmaker(self.engine)

    def _open(self, make: bool) -> None:
        if make:
            self._make()
        self._check()
        if make and file_of(self.url) is not None:
            _use_wal(self.engine)
        watch(self.engine, self.url, redacted(self.url))

    def _make(self) -> None:
        file = file_of(self.url)
        if file is None or file.exists():
            with self.engine.connect() as connection:
                if stored_version(connection) is not None:
                    return
        with changing(self.url) as connection:
            if stored_version(connection) is not None:
                return  # another process was first
            if tables := foreign_tables(connection, Base.metadata):
                raise foreign(self.url, tables)
            Base.metadata.create_all(connection)
            connection.execute(insert(VersionRow).values(version=SCHEMA_VERSION))
            connection.execute(insert(IdentityRow))

    def _check(self) -> None:
        with self.engine.connect() as connection:
            version = stored_version(connection)
        if version is None:
            raise no_tables(self.url)
        if version != SCHEMA_VERSION:
            raise UserError(
                f"storage.url: {redacted(self.url)} has lrsearch tables of version {version}, "
                f"this lrsearch needs {SCHEMA_VERSION}: "
                + (
                    "python -m lrsearch upgrade brings them up to date"
                    if version < SCHEMA_VERSION
                    else "use a newer lrsearch"
                )
            )

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def open_existing(url: str) -> Database:
    """Open a database whose tables must exist. Raises UserError."""
    return Database(existing(url), make=False)


def _use_wal(engine: Engine) -> None:
    """Switch a SQLite file to WAL mode, in which readers and a writer do not block each other."""
    deadline = time.monotonic() + BUSY_SECONDS

    def set_mode() -> None:
        with engine.connect() as connection:
            # The mode is stored in the file. SQLite does not wait for the lock that this needs.
            connection.exec_driver_sql("PRAGMA journal_mode=WAL")

    def wait(seconds: float) -> bool:
        time.sleep(seconds)
        return time.monotonic() > deadline

    persist(set_mode, wait)


def stored_version(connection: Connection) -> int | None:
    """Return the version of lrsearch's tables; None where there are none."""
    if not inspect(connection).has_table(VersionRow.__tablename__):
        return None
    return connection.scalar(select(VersionRow.version))


def no_tables(url: str) -> UserError:
    """Return the UserError for a database without lrsearch's tables."""
    return UserError(
        f"storage.url: {redacted(url)} has no tables of lrsearch; a sweep makes them, or give "
        f"storage.url=... of another"
    )


def foreign(url: str, tables: Sequence[str]) -> UserError:
    """Return the UserError for a database in which another program uses our table names."""
    named = ", ".join(map(repr, tables))
    return UserError(
        f"storage.url: {redacted(url)} belongs to another program, whose {named} would be in the "
        f"way of lrsearch's or Optuna's; nothing was changed: give lrsearch a database of its own"
    )
