"""Database errors that pass: which they are, and how long to wait before the next attempt."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from lrsearch.errors import UserError

T = TypeVar("T")

FIRST_WAIT, LONGEST_WAIT = 0.1, 5.0
"""Seconds between two attempts: twice as long each time, up to the longest."""
_SQLITE_PASSES = ("locked", "busy", "unable to open", "disk i/o", "is full")


def passes(error: BaseException) -> bool:
    """Whether the same statement may well succeed later.

    Lost connections, deadlocks, serialization failures, lock timeouts, a server that starts or
    stops, a busy or full SQLite file; also where Optuna or a message to the user wraps them.
    """
    if isinstance(error, PoolTimeout):
        return True
    if isinstance(error, DBAPIError):
        if error.connection_invalidated:
            return True
        if type(error.orig).__module__.startswith("sqlite3"):
            return any(word in str(error.orig).lower() for word in _SQLITE_PASSES)
        return isinstance(error, OperationalError | InterfaceError)
    cause = error.__cause__
    wrapped = isinstance(error, UserError) or type(error).__name__ == "StorageInternalError"
    return wrapped and cause is not None and passes(cause)


class Contact:
    """How long this process has reached the database without a break.

    Who was cut off cannot tell a dead worker from an outage: it must have seen one whole lease
    go by before it takes anything over.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since: float | None = None
        self._last = 0.0

    def reached(self, gap: float) -> None:
        """The database has answered. After a silence of more than `gap` seconds it starts anew."""
        now = self._clock()
        if self._since is None or now - self._last > gap:
            self._since = now
        self._last = now

    def failed(self) -> None:
        """The database has not answered."""
        self._since = None

    def lasted(self, seconds: float) -> bool:
        """Whether contact has lasted that long."""
        return self._since is not None and self._clock() - self._since >= seconds


class Waits:
    """Growing waits between attempts, each a little random so that workers do not march in step."""

    def __init__(self) -> None:
        self._next = FIRST_WAIT
        # Not the global generator: a training may be drawing from that.
        self._random = random.Random()

    def next(self) -> float:
        """Seconds to wait now."""
        wait = self._next
        self._next = min(2 * wait, LONGEST_WAIT)
        return wait * self._random.uniform(0.5, 1.0)


def persist(
    action: Callable[[], T],
    wait: Callable[[float], bool],
    failed: Callable[[BaseException], None] = lambda error: None,
) -> T:
    """Repeats `action`, which must be harmless to repeat, until the database takes it.

    `wait(seconds)` waits, and says whether to give up; then the last error is raised. Errors that
    do not pass are raised at once.
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
