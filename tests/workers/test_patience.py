"""How long a worker waits for its database, and what it says meanwhile."""

from __future__ import annotations

import logging
from collections.abc import Callable

import psycopg
import pytest
from local_worker import own_lines
from sqlalchemy.exc import OperationalError

from lrsearch.errors import LrsearchError, UserError
from lrsearch.workers.patience import DatabaseSilent, Patience, default_patience, first_contact
from lrsearch.workers.stop import Stop

URL = "postgresql+psycopg://me:hunter2@db.example.org/x"


def refused(said: str) -> OperationalError:
    """What SQLAlchemy raises where a connection cannot be had."""
    return OperationalError("connect", {}, psycopg.OperationalError(said))


AWAY = refused("connection failed: Connection refused")
FULL = refused("connection failed: FATAL:  sorry, too many clients already")


class Clock:
    """Time that passes when told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def waiting(clock: Clock) -> Stop:
    """A worker that nobody tells to stop, whose waits take their time."""

    def wait(seconds: float) -> bool:
        clock.now += seconds
        return False

    return Stop(lambda: False, wait)


def raising(errors: list[Exception]) -> Callable[[], str]:
    """What raises the errors, the last of the list first, and then works."""

    def act() -> str:
        if errors:
            raise errors.pop()
        return "opened"

    return act


def test_a_worker_waits_for_its_turn_and_says_once_for_what(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = Clock()
    patience = Patience(URL, 600.0, clock)
    with caplog.at_level(logging.INFO, "lrsearch.workers"):
        opened = first_contact(
            raising([AWAY, FULL, FULL, FULL, FULL]), URL, patience, waiting(clock)
        )
    assert opened == "opened"
    full, away, back = own_lines(caplog)
    assert "no free connection: waiting up to 10m00s" in full
    assert "too many clients already (for more workers raise max_connections" in full
    assert "does not answer" in away
    assert back == "the database answers"
    assert "hunter2" not in caplog.text


def test_a_worker_gives_up_after_its_patience_not_before() -> None:
    clock = Clock()
    patience = Patience(URL, 600.0, clock)
    with pytest.raises(DatabaseSilent, match=r"waited 10m00s .*queue\.patience.*too many clients"):
        first_contact(raising([FULL] * 10_000), URL, patience, waiting(clock))
    assert clock.now >= 700.0
    assert not issubclass(DatabaseSilent, UserError)  # to start it again may help


def test_each_silence_is_measured_from_its_beginning() -> None:
    clock = Clock()
    patience = Patience(URL, 60.0, clock)
    for _ in range(3):
        patience.failed(AWAY)
        clock.now += 59.0
        patience.failed(AWAY)
        patience.answered()
    patience.failed(AWAY)
    clock.now += 60.0
    with pytest.raises(DatabaseSilent):
        patience.failed(AWAY)


@pytest.mark.parametrize(
    "said",
    [
        'connection failed: FATAL:  password authentication failed for user "me"',
        'connection failed: FATAL:  database "x" does not exist',
        "connection failed: FATAL:  no such database: x",
        'connection failed: invalid sslmode value: "always"',
        "connection failed: server does not support SSL, but SSL was required",
    ],
)
def test_what_does_not_pass_is_not_waited_for(said: str) -> None:
    clock = Clock()
    with pytest.raises(UserError, match="cannot use the database"):
        first_contact(raising([refused(said)]), URL, Patience(URL, 600.0, clock), waiting(clock))
    assert clock.now == 100.0


def test_an_error_of_another_kind_is_raised_as_it_is() -> None:
    clock = Clock()
    for error in (ValueError("a bug"), LrsearchError("another")):
        with pytest.raises(type(error), match=str(error)):
            first_contact(raising([error]), URL, Patience(URL, 600.0, clock), waiting(clock))


def test_a_worker_that_is_told_to_stop_opens_nothing() -> None:
    stopped = Stop(lambda: True, wait=lambda seconds: True)
    assert first_contact(raising([AWAY] * 9), URL, Patience(URL, 600.0), stopped) is None


def test_the_environment_gives_the_default_of_the_patience() -> None:
    assert default_patience({}) == 1800.0
    assert default_patience({"LRSEARCH_PATIENCE": "7.5"}) == 7.5
    for text in ("", "long", "-1", "nan", "inf"):
        with pytest.raises(UserError, match="LRSEARCH_PATIENCE"):
            default_patience({"LRSEARCH_PATIENCE": text})
