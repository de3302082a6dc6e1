"""The lease that is kept beside the training."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable

import pytest
from sqlalchemy.exc import OperationalError

from lrsearch.queue.leasing import LeaseLost, Orders
from lrsearch.storage.outages import Contact
from lrsearch.workers.lease import Lease
from lrsearch.workers.stall import StallWatch

LOCKED = OperationalError("update", {}, sqlite3.OperationalError("database is locked"))
LOCKED.orig.sqlite_errorcode = sqlite3.SQLITE_BUSY  # type: ignore[union-attr]
TIMEOUT = 30.0
UNWATCHED = StallWatch(None, False, lambda cause: None)


class Renewals:
    """Answers of the database, one after the other; the last one for ever."""

    def __init__(self, *answers: Orders | Exception) -> None:
        self.answers = list(answers)
        self.asked = threading.Semaphore(0)

    def __call__(self) -> Orders:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        self.asked.release()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def wait(self, times: int) -> None:
        """Until it was asked so often."""
        for _ in range(times):
            assert self.asked.acquire(timeout=TIMEOUT)


def lease_with(renew: Callable[[], Orders]) -> Lease:
    return Lease(renew, Contact(), seconds=0.04, stall=UNWATCHED)


def test_it_is_renewed_again_and_again_and_ends_with_the_trial() -> None:
    renew = Renewals(Orders(hand_back=False))
    with lease_with(renew) as lease:
        renew.wait(3)
        assert not lease.lost
    assert "lease" not in [thread.name for thread in threading.enumerate()]


def test_it_survives_errors_of_the_database_of_every_kind() -> None:
    renew = Renewals(LOCKED, LOCKED, ValueError("odd"), Orders(hand_back=False))
    with lease_with(renew) as lease:
        renew.wait(5)
    assert not lease.cut_off
    assert lease.contact.lasted(0.0)


def test_while_the_database_does_not_answer_it_is_cut_off_and_contact_is_broken() -> None:
    renew = Renewals(LOCKED)
    with lease_with(renew) as lease:
        renew.wait(2)
    assert lease.cut_off
    assert not lease.lost
    assert not lease.contact.lasted(0.0)


def test_it_hears_that_the_unit_is_anothers_and_asks_no_more() -> None:
    renew = Renewals(LeaseLost())
    with lease_with(renew) as lease:
        renew.wait(1)
        lease._thread.join(TIMEOUT)
        assert not lease._thread.is_alive()
    assert lease.lost
    assert not lease.is_sure()


def test_it_hears_that_trials_are_to_be_handed_back() -> None:
    renew = Renewals(Orders(hand_back=True), Orders(hand_back=False))
    with lease_with(renew) as lease:
        renew.wait(2)
    assert lease.hand_back


def test_nobody_else_can_have_the_unit_until_the_lease_has_run_out() -> None:
    now = [0.0]
    lease = Lease(lambda: Orders(False), Contact(), 60.0, UNWATCHED, clock=lambda: now[0])
    assert lease.is_sure()
    now[0] = 59.0
    assert lease.is_sure()
    lease.reach(lambda: Orders(hand_back=False))
    now[0] = 118.0
    assert lease.is_sure()
    now[0] = 120.0
    assert not lease.is_sure()


def test_what_the_training_asks_may_fail_too_and_only_outages_are_forgiven() -> None:
    lease = lease_with(Renewals(Orders(hand_back=False)))

    def ask(error: Exception) -> Callable[[], Orders]:
        def fail() -> Orders:
            raise error

        return fail

    assert lease.reach(ask(LOCKED)) is None
    assert lease.cut_off
    with pytest.raises(ValueError, match="a bug"):
        lease.reach(ask(ValueError("a bug")))
    with pytest.raises(LeaseLost):
        lease.reach(ask(LeaseLost()))
    assert lease.lost
