"""How one attempt at a trial or auxiliary run ends, and what the log says of it."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Mapping
from typing import Any

import pytest
from local_worker import own_lines
from sqlalchemy.exc import OperationalError

from lrsearch.queue.leasing import LeaseLost, Orders
from lrsearch.storage.outages import Contact
from lrsearch.training.loop import Stopped
from lrsearch.workers.attempt import bring_to_end
from lrsearch.workers.lease import Lease
from lrsearch.workers.stall import StallWatch
from lrsearch.workers.work_log import WorkLog

UNWATCHED = StallWatch(None, False, lambda cause: None)
AWAY = OperationalError("update", {}, sqlite3.OperationalError("database is locked"))
AWAY.orig.sqlite_errorcode = sqlite3.SQLITE_BUSY  # type: ignore[union-attr]
HANDED_BACK = "digits, trial 3: handed back"
LEFT = "digits, trial 3: left to its lease, since the database does not answer"
LOST = "digits, trial 3: another worker has it now"


class Kept:
    """Checkpoints: only whether they were cleared counts here."""

    folder = ""
    cleared = False

    def save(self, state: Mapping[str, Any]) -> None:
        raise AssertionError

    def load(self) -> None:
        raise AssertionError

    def clear(self) -> None:
        self.cleared = True


def attempt(
    work: Exception | None,
    give_back: Exception | None = None,
    lost: bool = False,
    over: bool | Exception = False,
) -> tuple[bool, bool]:
    """Whether the work was given back, and whether its checkpoints were cleared."""
    lease = Lease(lambda: Orders(hand_back=False), Contact(), 1000.0, UNWATCHED)
    lease.lost = lost
    kept = Kept()
    given: list[bool] = []

    def worked() -> None:
        if work is not None:
            raise work

    def gave_back() -> None:
        given.append(True)
        if give_back is not None:
            raise give_back

    def is_over() -> bool:
        if isinstance(over, Exception):
            raise over
        return over

    log = WorkLog("digits", "trial 3", "val_loss")
    bring_to_end(log, lease, kept, worked, gave_back, is_over)
    return bool(given), kept.cleared


@pytest.mark.parametrize(
    ("work", "give_back", "lost", "said"),
    [
        (Stopped("told"), None, False, HANDED_BACK),
        (Stopped("told"), AWAY, False, LEFT),
        (Stopped("told"), LeaseLost("gone"), False, LOST),
        (Stopped("told"), None, True, LOST),
        (LeaseLost("gone"), None, False, LOST),
    ],
)
def test_what_is_not_finished_keeps_its_checkpoints_and_the_log_says_where_it_is(
    work: Exception,
    give_back: Exception | None,
    lost: bool,
    said: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO, "lrsearch.workers"):
        was_given, cleared = attempt(work, give_back, lost)
    assert own_lines(caplog) == [said]
    assert was_given == (isinstance(work, Stopped) and not lost)
    assert not cleared


@pytest.mark.parametrize(
    ("work", "give_back"),
    [(LeaseLost("gone"), None), (Stopped("told"), LeaseLost("gone"))],
)
def test_who_lost_what_another_has_ended_deletes_what_it_has_written_since(
    work: Exception, give_back: Exception | None
) -> None:
    assert attempt(work, give_back, over=True)[1]
    assert not attempt(work, give_back, over=False)[1]
    assert not attempt(work, give_back, over=AWAY)[1]
    assert not attempt(Stopped("handed back"), over=True)[1]


def test_what_is_finished_needs_no_checkpoints() -> None:
    assert attempt(None) == (False, True)


def test_an_error_of_handing_back_that_does_not_pass_is_no_secret() -> None:
    with pytest.raises(ZeroDivisionError):
        attempt(Stopped("told"), ZeroDivisionError())
