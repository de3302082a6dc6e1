"""Classification of database errors: wait for the end of an outage, fail the trial, or stop."""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import TypeVar

from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    SQLAlchemyError,
    StatementError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout

from lrsearch.errors import UserError

T = TypeVar("T")

FIRST_WAIT, LONGEST_WAIT = 0.1, 5.0
"""Seconds between two attempts: they double each time, up to the longest."""


class Trouble(StrEnum):
    """What a database error means."""

    PASSES = "passes"
    """The same statement may well succeed later."""
    DATA = "data"
    """The values are refused, whoever sends them and however often."""
    ACCESS = "access"
    """This process may not do it: it is not let in, or lacks a privilege."""
    OTHER = "other"
    """A missing table, or an error in lrsearch."""


_SQLSTATES = (
    (Trouble.PASSES, ("08", "40", "53", "55P03", "57", "58", "25006", "25P03")),
    (Trouble.DATA, ("22", "23")),
    (Trouble.ACCESS, ("28", "3D", "42501")),
)
"""SQLSTATEs by their beginning (PostgreSQL manual, appendix A).

Passing: connection lost, rolled back (deadlock, serialization), out of resources, lock timeout,
operator intervention (a server that starts or stops), system error, read-only until a failover,
idle in a transaction for too long.
"""
_SQLITE_CODES = (
    (
        Trouble.PASSES,
        (
            sqlite3.SQLITE_BUSY,
            sqlite3.SQLITE_LOCKED,
            sqlite3.SQLITE_FULL,
            sqlite3.SQLITE_IOERR,
            sqlite3.SQLITE_CANTOPEN,
        ),
    ),
    (
        Trouble.DATA,
        (sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_MISMATCH),
    ),
    (
        Trouble.ACCESS,
        (
            sqlite3.SQLITE_PERM,
            sqlite3.SQLITE_READONLY,
            sqlite3.SQLITE_AUTH,
            sqlite3.SQLITE_CORRUPT,
            sqlite3.SQLITE_NOTADB,
        ),
    ),
)
"""Primary result codes; the extended ones have these in their lowest byte."""
_NOT_LET_IN = (
    "authentication failed",
    "auth failed",
    "no password supplied",
    "is not permitted to log in",
    "does not exist",
    "no pg_hba.conf entry",
    "permission denied",
    "no such database",
    "no such user",
    # What the URL says cannot be done: libpq's own words, and PgBouncer's.
    "invalid ",
    "certificate",
    "does not support SSL",
    "unsupported startup parameter",
)
"""Parts of messages on refusing a connection, for which libpq has no SQLSTATE."""
_FULL = ("too many", "connection slots", "no more connections")
"""Parts of such messages where all connections are taken: PostgreSQL's, and PgBouncer's."""


def trouble(error: BaseException) -> Trouble | None:
    """Classify a database error; None for any other error.

    Errors of Optuna, and UserErrors, are classified by the error that they wrap.
    """
    if isinstance(error, PoolTimeout):
        return Trouble.PASSES
    if isinstance(error, DBAPIError):
        return Trouble.PASSES if error.connection_invalidated else _meaning(error)
    if isinstance(error, StatementError):
        return Trouble.DATA  # the values could not even be sent
    if isinstance(error, SQLAlchemyError):
        return Trouble.OTHER
    cause = origin(error)
    return None if cause is error else trouble(cause)


def origin(error: BaseException) -> BaseException:
    """Return the error that an error of Optuna or a UserError wraps; else the error itself."""
    wraps = isinstance(error, UserError) or type(error).__name__ == "StorageInternalError"
    return error.__cause__ if wraps and error.__cause__ is not None else error


def _meaning(error: DBAPIError) -> Trouble:
    code = getattr(error.orig, "sqlite_errorcode", None)
    if code is not None:
        for meaning, codes in _SQLITE_CODES:
            if code & 0xFF in codes:
                return meaning
        return Trouble.OTHER
    state = getattr(error.orig, "sqlstate", None)
    if state is not None:
        for meaning, states in _SQLSTATES:
            if state.startswith(states):
                return meaning
        return Trouble.OTHER
    # Raised by the driver itself.
    if isinstance(error, DataError | IntegrityError):
        return Trouble.DATA
    if isinstance(error, OperationalError | InterfaceError):
        said = str(error.orig)
        return Trouble.ACCESS if any(words in said for words in _NOT_LET_IN) else Trouble.PASSES
    return Trouble.OTHER


def passes(error: BaseException) -> bool:
    """Return whether the same statement may well succeed later: the error is an outage."""
    return trouble(error) is Trouble.PASSES


def is_full(error: BaseException) -> bool:
    """Return whether an error that passes says that all connections of the server are taken."""
    said = in_words(origin(error))
    return passes(error) and any(words in said for words in _FULL)


class DatabaseRefuses(UserError):
    """The database refuses this process, for a reason that does not pass by itself."""


@contextmanager
def refusals_in_words() -> Iterator[None]:
    """Raise DatabaseRefuses in place of database errors of access, or in lrsearch itself.

    Use it around calls to lrsearch's database only: the user's code may have one of its own.
    """
    try:
        yield
    except DatabaseRefuses:
        raise
    except Exception as error:
        kind = trouble(error)
        if kind not in (Trouble.ACCESS, Trouble.OTHER):
            raise
        message = in_words(error)
        raise DatabaseRefuses(
            f"storage.url: the database refuses this process: {message}"
        ) from error


def in_words(error: BaseException) -> str:
    """Return the first line of a database's error, without the statement and its values."""
    message = str(getattr(error, "orig", None) or error).strip() or repr(error)
    return message.splitlines()[0]


class Contact:
    """Measures for how long this process has reached the database without a break.

    After a break, a process cannot tell dead workers from an outage: it must wait for the length
    of a lease before it takes over their work.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since: float | None = None
        self._last = 0.0

    def reached(self, gap: float) -> None:
        """Note an answer of the database. After a gap of more than `gap` s, contact starts anew."""
        now = self._clock()
        if self._since is None or now - self._last > gap:
            self._since = now
        self._last = now

    def failed(self) -> None:
        """Note that the database did not answer."""
        self._since = None

    def lasted(self, seconds: float) -> bool:
        """Return whether contact has lasted for that many seconds."""
        return self._since is not None and self._clock() - self._since >= seconds


class Waits:
    """Growing waits between attempts, randomised so that workers do not retry all at once."""

    def __init__(self) -> None:
        self._next = FIRST_WAIT
        # Not the global generator: a training may be drawing from that.
        self._random = random.Random()

    def next(self) -> float:
        """Return the seconds to wait before the next attempt."""
        wait = self._next
        self._next = min(2 * wait, LONGEST_WAIT)
        return wait * self._random.uniform(0.5, 1.0)


def persist(
    action: Callable[[], T],
    wait: Callable[[float], bool],
    failed: Callable[[BaseException], None] = lambda error: None,
) -> T:
    """Repeat `action`, which must be idempotent, during an outage; return its result.

    `wait(seconds)` waits, and returns whether to give up: then the last error is raised. Errors
    that are no outage are raised at once. `failed` is called with each error of
    the outage.
    """
    waits = Waits()
    while True:
        try:
            return action()
        except Exception as error:
            if not passes(error):
                raise
            failed(error)
            if wait(waits.next()):
                raise
