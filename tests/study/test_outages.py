"""Database errors that pass, and what is done meanwhile."""

from __future__ import annotations

import sqlite3

import psycopg
import pytest
from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from lrsearch.study.outages import LONGEST_WAIT, Contact, Waits, passes, persist

LOCKED = OperationalError("update", {}, sqlite3.OperationalError("database is locked"))
NO_TABLE = OperationalError("update", {}, sqlite3.OperationalError("no such table: x"))


def wrapped(error: Exception) -> Exception:
    outer = StorageInternalError("an exception is raised during the commit")
    outer.__cause__ = error
    return outer


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (LOCKED, True),
        (OperationalError("x", {}, sqlite3.OperationalError("database or disk is full")), True),
        (OperationalError("x", {}, sqlite3.OperationalError("disk I/O error")), True),
        (NO_TABLE, False),
        (OperationalError("x", {}, psycopg.errors.DeadlockDetected()), True),
        (OperationalError("x", {}, psycopg.errors.SerializationFailure()), True),
        (OperationalError("x", {}, psycopg.errors.LockNotAvailable()), True),
        (OperationalError("x", {}, psycopg.errors.AdminShutdown()), True),
        (OperationalError("x", {}, psycopg.errors.CannotConnectNow()), True),
        (OperationalError("x", {}, psycopg.OperationalError("connection refused")), True),
        (PoolTimeout(), True),
        (ProgrammingError("x", {}, psycopg.errors.UndefinedTable()), False),
        (IntegrityError("x", {}, psycopg.errors.UniqueViolation()), False),
        (ProgrammingError("x", {}, Exception(), connection_invalidated=True), True),
        (wrapped(LOCKED), True),
        (wrapped(NO_TABLE), False),
        (ValueError("a bug"), False),
    ],
)
def test_what_passes_is_told_from_what_does_not(error: Exception, expected: bool) -> None:
    assert passes(error) == expected


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
    with pytest.raises(OperationalError, match="locked"):
        persist(lambda: fail(LOCKED), lambda _: True)
