"""Database errors that pass, and what is done meanwhile."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

import psycopg
import pytest
from optuna.exceptions import StorageInternalError
from sqlalchemy import create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    InternalError,
    OperationalError,
    ProgrammingError,
    StatementError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout

from lrsearch.storage.outages import (
    LONGEST_WAIT,
    Contact,
    DatabaseRefuses,
    Waits,
    passes,
    persist,
    refusals_in_words,
    trouble,
)


def of_sqlite(code: int) -> OperationalError:
    """What SQLite raises with a result code."""
    original = sqlite3.OperationalError("in any language")
    original.sqlite_errorcode = code
    return OperationalError("update", {}, original)


def of_postgresql(state: str) -> DBAPIError:
    """What a server raises with a SQLSTATE, as SQLAlchemy wraps it."""
    original = psycopg.errors.lookup(state)("in any language")
    for kind in (OperationalError, IntegrityError, DataError, ProgrammingError, InternalError):
        if isinstance(original, getattr(psycopg, kind.__name__)):
            return kind("update", {}, original)
    raise AssertionError(state)


LOCKED = of_sqlite(sqlite3.SQLITE_LOCKED)
NO_TABLE = of_sqlite(sqlite3.SQLITE_ERROR)


def wrapped(error: Exception) -> Exception:
    outer = StorageInternalError("an exception is raised during the commit")
    outer.__cause__ = error
    return outer


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (LOCKED, "passes"),
        (of_sqlite(sqlite3.SQLITE_BUSY), "passes"),
        (of_sqlite(sqlite3.SQLITE_BUSY_SNAPSHOT), "passes"),
        (of_sqlite(sqlite3.SQLITE_FULL), "passes"),
        (of_sqlite(sqlite3.SQLITE_IOERR_FSYNC), "passes"),
        (of_sqlite(sqlite3.SQLITE_CANTOPEN), "passes"),
        (of_sqlite(sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY), "data"),
        (of_sqlite(sqlite3.SQLITE_TOOBIG), "data"),
        (of_sqlite(sqlite3.SQLITE_READONLY), "access"),
        (of_sqlite(sqlite3.SQLITE_NOTADB), "access"),
        (NO_TABLE, "other"),
        (of_postgresql("08006"), "passes"),
        (of_postgresql("40001"), "passes"),
        (of_postgresql("40P01"), "passes"),
        (of_postgresql("53300"), "passes"),
        (of_postgresql("55P03"), "passes"),
        (of_postgresql("57P01"), "passes"),
        (of_postgresql("57P03"), "passes"),
        (of_postgresql("25006"), "passes"),
        (of_postgresql("22003"), "data"),
        (of_postgresql("23505"), "data"),
        (of_postgresql("28P01"), "access"),
        (of_postgresql("3D000"), "access"),
        (of_postgresql("42501"), "access"),
        (of_postgresql("42P01"), "other"),
        (OperationalError("x", {}, psycopg.OperationalError("connection refused")), "passes"),
        (DataError("x", {}, psycopg.DataError("text fields cannot contain NUL")), "data"),
        (StatementError("x", "x", {}, TypeError("not JSON serializable")), "data"),
        (PoolTimeout(), "passes"),
        (ProgrammingError("x", {}, Exception(), connection_invalidated=True), "passes"),
        (wrapped(LOCKED), "passes"),
        (wrapped(NO_TABLE), "other"),
        (ValueError("a bug"), None),
    ],
)
def test_what_an_error_means_is_told_by_its_code(error: Exception, expected: str | None) -> None:
    assert trouble(error) == expected
    assert passes(error) == (expected == "passes")


def test_what_a_server_says_to_a_connection_it_refuses(new_database: Callable[[], str]) -> None:
    url = make_url(new_database())
    refused = [url.set(database="nowhere"), url.set(username="nobody")]
    for one in refused:
        with pytest.raises(OperationalError) as caught:
            create_engine(one).connect()
        assert trouble(caught.value) == "access"


def test_refusals_that_are_not_of_one_trial_are_said_in_words() -> None:
    for error in (of_postgresql("42501"), of_postgresql("42P01"), of_sqlite(sqlite3.SQLITE_PERM)):
        with pytest.raises(DatabaseRefuses, match="in any language"), refusals_in_words():
            raise error
    for error in (LOCKED, of_postgresql("23505"), ValueError("of the user's code")):
        with pytest.raises(type(error)) as caught, refusals_in_words():
            raise error
        assert caught.value is error


class Clock:
    """Time that passes when told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_contact_lasts_only_without_a_break() -> None:
    clock = Clock()
    contact = Contact(clock)
    assert not contact.lasted(0.0)
    for _ in range(7):
        contact.reached(gap=60.0)
        clock.now += 10.0
    assert contact.lasted(60.0)
    contact.failed()
    assert not contact.lasted(0.0)
    contact.reached(gap=60.0)
    clock.now += 59.0
    assert not contact.lasted(60.0)
    contact.reached(gap=60.0)
    clock.now += 1.0
    assert contact.lasted(60.0)
    clock.now += 100.0  # this process was stopped
    contact.reached(gap=60.0)
    assert not contact.lasted(60.0)


def test_waits_grow_up_to_a_limit() -> None:
    waits = Waits()
    seen = [waits.next() for _ in range(20)]
    assert 0.05 <= seen[0] <= 0.1
    assert all(LONGEST_WAIT / 2 <= wait <= LONGEST_WAIT for wait in seen[10:])


def test_an_action_is_repeated_until_the_database_takes_it() -> None:
    errors: list[Exception] = [LOCKED, LOCKED]
    waited: list[float] = []

    def action() -> str:
        if errors:
            raise errors.pop()
        return "done"

    def wait(seconds: float) -> bool:
        waited.append(seconds)
        return False

    assert persist(action, wait) == "done"
    assert len(waited) == 2


def test_what_does_not_pass_is_raised_at_once_and_whoever_is_told_to_stop_gives_up() -> None:
    def fail(error: Exception) -> None:
        raise error

    with pytest.raises(ValueError, match="a bug"):
        persist(lambda: fail(ValueError("a bug")), lambda _: pytest.fail("it waited"))
    with pytest.raises(OperationalError, match="in any language"):
        persist(lambda: fail(LOCKED), lambda _: True)
