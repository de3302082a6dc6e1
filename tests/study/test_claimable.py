"""What studies have for a worker that looks for work."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from shop import TERMS, Shop
from sqlalchemy import update

from lrsearch.queue.endings import Ending
from lrsearch.queue.leasing import LONGEST_LEASE
from lrsearch.queue.trial_claims import TrialClaims
from lrsearch.states import Outcome, RunKind
from lrsearch.storage.tables import AuxiliaryRunRow, StudyRow, TrialSlotRow
from lrsearch.study.claimable import Claimable, claimable


class Slots(Shop[TrialClaims]):
    """A study of two trials."""

    kind, table = TrialClaims, TrialSlotRow

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.queue.add([({}, 0), ({}, 1)])

    def now(self) -> Claimable:
        """What the study has for a worker."""
        return claimable(self.database.session, [self.study_id, 99])[self.study_id]

    def add_run(self, kind: RunKind, number: int = 0) -> None:
        """Add an open auxiliary run."""
        with self.database.session.begin() as session:
            session.add(AuxiliaryRunRow(study_id=self.study_id, kind=kind, number=number, seed=0))

    def set(self, **columns: object) -> None:
        """Change the study's row."""
        with self.database.session.begin() as session:
            session.execute(update(StudyRow).values(**columns))


@pytest.fixture
def slots(either_url: str) -> Iterator[Slots]:
    slots = Slots(either_url)
    yield slots
    slots.close()


def test_what_is_open_runs_and_has_run_out_is_told(slots: Slots) -> None:
    assert slots.now() == Claimable(True, False, holders=0, lease=TERMS.lease, waits=False)
    worker, claim = slots.claim("one")
    assert slots.now() == Claimable(True, False, holders=1, lease=TERMS.lease, waits=False)
    other, second = slots.claim("two")
    assert slots.now() == Claimable(False, False, holders=2, lease=TERMS.lease, waits=False)
    slots.expire(claim)
    assert slots.now() == Claimable(False, True, holders=1, lease=TERMS.lease, waits=False)
    other.finish(second, Ending(Outcome.COMPLETE, 0.5), 1.0)
    assert slots.now() == Claimable(False, True, holders=0, lease=TERMS.lease, waits=False)
    worker.renew(claim)
    worker.finish(claim, Ending(Outcome.COMPLETE, 0.5), 1.0)
    assert slots.now() == Claimable(False, False, holders=0, lease=TERMS.lease, waits=False)


def test_trials_wait_for_the_range_test(slots: Slots) -> None:
    slots.add_run(RunKind.RANGE_TEST)
    assert slots.now().is_open
    with slots.database.session.begin() as session:
        session.execute(update(AuxiliaryRunRow).values(state="running"))
    assert (slots.now().is_open, slots.now().waits) == (False, True)
    with slots.database.session.begin() as session:
        session.execute(update(AuxiliaryRunRow).values(state="done"))
    assert slots.now().is_open


def test_auxiliary_runs_count_as_trials_do(slots: Slots) -> None:
    for name in ("one", "two"):
        slots.claim(name)
    slots.add_run(RunKind.CONFIRM)
    assert slots.now() == Claimable(True, False, holders=2, lease=TERMS.lease, waits=False)


def test_nothing_is_claimable_of_a_study_at_its_limit(slots: Slots) -> None:
    slots.set(max_running=1)
    assert slots.now().is_open
    _, claim = slots.claim("one")
    assert (slots.now().is_open, slots.now().waits) == (False, True)
    slots.expire(claim)
    assert (slots.now().is_open, slots.now().is_expired) == (True, True)


def test_the_longest_lease_of_the_study_is_told(slots: Slots) -> None:
    slots.set(record={LONGEST_LEASE: 7.5})
    assert slots.now().lease == 7.5


def test_a_study_that_is_not_there_has_nothing(slots: Slots) -> None:
    assert claimable(slots.database.session, [99]) == {}
    assert claimable(slots.database.session, []) == {}
