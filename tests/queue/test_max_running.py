"""`max_running`: the most trials and auxiliary runs of a study that run at a time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from processes import at_one_instant
from shop import TERMS, Shop
from sqlalchemy import func, select, update

from lrsearch.queue.auxiliary_claims import AuxiliaryClaims
from lrsearch.queue.endings import Ending
from lrsearch.queue.leasing import running_count
from lrsearch.queue.trial_claims import TrialClaims
from lrsearch.states import Outcome, RunKind, WorkState
from lrsearch.storage.database import Database
from lrsearch.storage.optuna_bridge import Studies
from lrsearch.storage.tables import AuxiliaryRunRow, StudyRow, TrialSlotRow
from lrsearch.study.claimable import claimable

LIMIT = 3
PROCESSES = 5
TRIALS, RUNS = 15, 8


class Limited(Shop[TrialClaims]):
    """Trials and auxiliary runs, of which at most LIMIT may run at a time."""

    kind, table = TrialClaims, TrialSlotRow

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.queue.add([({}, k) for k in range(TRIALS)])
        with self.database.session.begin() as session:
            session.add_all(
                AuxiliaryRunRow(
                    study_id=self.study_id, kind=RunKind.CONFIRM, number=k, seed=k, trial_number=0
                )
                for k in range(RUNS)
            )
        self.limit(LIMIT)

    def limit(self, most: int | None) -> None:
        with self.database.session.begin() as session:
            session.execute(update(StudyRow).values(max_running=most))

    def runs(self) -> AuxiliaryClaims:
        return AuxiliaryClaims(
            self.database.session, self.study_id, "runs/1/1.00", lambda session, study: None, TERMS
        )

    def claimable(self) -> bool:
        offer = claimable(self.database.session, [self.study_id])[self.study_id]
        return offer.is_open or offer.is_expired


@pytest.fixture
def shop(either_url: str) -> Iterator[Limited]:
    shop = Limited(either_url)
    yield shop
    shop.close()


def test_trials_and_auxiliary_runs_count_together(shop: Limited) -> None:
    workers = [shop.claim(name) for name in "ab"]
    assert shop.claimable()
    run = shop.runs().claim(False)
    assert run is not None
    assert not shop.claimable()
    assert shop.worker("c").claim(take_over=True) is None
    assert shop.runs().claim(True) is None
    worker, claim = workers[0]
    worker.give_back(claim)
    assert shop.claimable()
    assert shop.runs().claim(False) is not None
    shop.limit(None)
    assert shop.claimable()
    assert shop.worker("d").claim(take_over=False) is not None


def test_a_lower_limit_lets_what_runs_go_on(shop: Limited) -> None:
    worker, claim = shop.claim("a")
    shop.claim("b")
    shop.limit(1)
    assert not worker.renew(claim).hand_back
    worker.finish(claim, Ending(Outcome.COMPLETE, 0.5), 1.0)
    assert shop.worker("c").claim(take_over=False) is None


def test_the_place_of_a_dead_worker_is_taken_over(shop: Limited) -> None:
    claims = [shop.claim(name)[1] for name in "abc"]
    shop.expire(claims[1])
    assert shop.worker("d").claim(take_over=False) is None  # it may be cut off, and at work
    assert shop.claimable()
    taken = shop.worker("d").claim(take_over=True)
    assert taken is not None
    assert taken.attempt == 2 if taken.number == claims[1].number else taken.attempt == 1
    with shop.database.session() as session:
        assert session.scalar(select(running_count(shop.study_id))) == LIMIT


def test_no_race_lets_more_run(either_url: str) -> None:
    """Several processes claim, and count after each claim what runs: trials and other runs."""
    shop = Limited(either_url)
    study_id = shop.study_id
    shop.close()

    def work() -> None:
        studies = Studies(either_url)
        database = Database(either_url, studies.engine)

        def nothing(session: object, study: int) -> None:
            pass

        trials = TrialClaims(database.session, study_id, "me/1/1.00", nothing, TERMS)
        runs = AuxiliaryClaims(database.session, study_id, "me/1/1.00", nothing, TERMS)
        left = True
        while left:
            for claims in (trials, runs):
                claim = claims.claim(False)  # type: ignore[attr-defined]
                with database.session() as session:
                    running = session.scalar(select(running_count(study_id)))
                    assert running is not None
                    assert running <= LIMIT, running
                if claim is None:
                    continue
                ending = Ending(Outcome.COMPLETE, 0.5)
                if claims is trials:
                    trials.finish(claim, ending, 1.0)
                else:
                    runs.finish(claim, ending, {}, 1.0)
            with database.session() as session:
                left = any(
                    session.scalar(select(func.count()).where(table.state == WorkState.OPEN))
                    for table in (TrialSlotRow, AuxiliaryRunRow)
                )
        studies.close()

    assert at_one_instant(PROCESSES, work) == [0] * PROCESSES
