"""The queue of budget units: what keeps the total, and the states of a study."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import update

from lrsearch.queue.endings import Ending
from lrsearch.queue.queue import Queue
from lrsearch.queue.trial_claims import TrialClaims
from lrsearch.settings import QueueSettings
from lrsearch.states import Outcome, StudyState, WorkState
from lrsearch.storage.database import Database
from lrsearch.storage.optuna_bridge import Studies
from lrsearch.storage.tables import StudyRow, TrialSlotRow
from lrsearch.study.follow_up import follow_up, open_again


@pytest.fixture
def study_id(database: Database, studies: Studies) -> int:
    study_id = studies.create("one", "min", "val_loss")
    with database.session.begin() as session:
        session.add(StudyRow(study_id=study_id, name="one", config={}, record={}))
    return study_id


@pytest.fixture
def queue(database: Database, study_id: int) -> Queue:
    queue = Queue(database.session, study_id)
    queue.add([({"lr": 0.1}, 11), ({}, 12), ({}, 13)])
    return queue


@pytest.fixture
def claims(database: Database, study_id: int) -> TrialClaims:
    return TrialClaims(database.session, study_id, "here/1/2.00", follow_up, QueueSettings())


def state(database: Database, study_id: int) -> tuple[str, str | None, bool]:
    with database.session() as session:
        row = session.get_one(StudyRow, study_id)
        return row.state, row.stopped, row.hand_back


def test_studies_do_not_see_each_others_units(
    database: Database, studies: Studies, queue: Queue
) -> None:
    other_id = studies.create("two", "min", "val_loss")
    with database.session.begin() as session:
        session.add(StudyRow(study_id=other_id, name="two", config={}, record={}))
    assert Queue(database.session, other_id).total() == 0
    assert (
        TrialClaims(database.session, other_id, "me/1/1", follow_up, QueueSettings()).claim(
            take_over=True
        )
        is None
    )


def test_a_smaller_budget_takes_away_untouched_units_alone(
    queue: Queue, claims: TrialClaims
) -> None:
    claims.claim(take_over=False)
    assert queue.trim(0) == 1
    assert queue.counts() == {WorkState.OPEN: 0, WorkState.RUNNING: 1, WorkState.DONE: 0}


def test_a_unit_that_was_handed_back_keeps_its_trial_and_is_not_taken_away(
    queue: Queue, claims: TrialClaims
) -> None:
    claim = claims.claim(take_over=False)
    assert claim is not None
    claims.give_back(claim)
    assert queue.trim(0) == 1
    queue.replan([({"lr": 0.5}, 1)] * 3)
    again = claims.claim(take_over=False)
    assert again is not None
    assert (again.trial_id, dict(again.params)) == (claim.trial_id, {"lr": 0.1})


def finish(claims: TrialClaims, outcome: str, reason: str) -> None:
    claim = claims.claim(take_over=False)
    assert claim is not None
    claims.finish(claim, Ending(outcome, reason=reason), seconds=1.0)


def test_three_failures_in_a_row_stop_the_study_with_the_last_cause(
    database: Database, study_id: int, queue: Queue, claims: TrialClaims
) -> None:
    queue.add([({}, k) for k in range(5)], first=3)
    for outcome in (
        Outcome.FAILED,
        Outcome.FAILED,
        Outcome.COMPLETE,
        Outcome.FAILED,
        Outcome.FAILED,
    ):
        finish(claims, outcome, "early")
        assert queue.stop_after_failures() is None
    finish(claims, Outcome.FAILED, "no such layer")
    assert queue.stop_after_failures() == "no such layer"
    found, reason, hand_back = state(database, study_id)
    assert (found, hand_back) == (Outcome.FAILED, True)
    assert "no such layer" in str(reason)
    assert claims.claim(take_over=True) is None
    assert queue.counts()[WorkState.OPEN] == 2


def test_trials_that_end_their_workers_do_not_stop_the_study(
    queue: Queue, claims: TrialClaims
) -> None:
    for _ in range(3):
        finish(claims, Outcome.CRASHED, "died")
    assert queue.stop_after_failures() is None


def test_a_paused_study_gives_nothing_out_until_it_is_opened(
    database: Database, study_id: int, queue: Queue, claims: TrialClaims
) -> None:
    claim = claims.claim(take_over=False)
    assert claim is not None
    assert not claims.renew(claim).hand_back
    queue.pause()
    assert state(database, study_id)[0] == StudyState.PAUSED
    assert claims.claim(take_over=True) is None
    assert claims.renew(claim).hand_back
    open_again(database.session, queue.study_id)
    assert claims.claim(take_over=False) is not None


@pytest.mark.parametrize("hand_back", [True, False])
def test_a_stopped_study_lets_its_trials_end_or_asks_for_them_back(
    database: Database, study_id: int, queue: Queue, claims: TrialClaims, hand_back: bool
) -> None:
    claim = claims.claim(take_over=False)
    assert claim is not None
    queue.stop("enough", hand_back)
    assert state(database, study_id) == (StudyState.STOPPED, "enough", hand_back)
    assert claims.renew(claim).hand_back == hand_back
    claims.finish(claim, Ending(Outcome.COMPLETE, 1.0), 1.0)
    assert queue.outcomes() == {Outcome.COMPLETE: 1}


def test_wall_clock_counts_the_time_in_which_somebody_works(
    database: Database, study_id: int, queue: Queue
) -> None:
    assert queue.tick() == 0.0  # the first one only starts the clock

    def last_tick(seconds_ago: float) -> None:
        with database.session.begin() as session:
            session.execute(update(StudyRow).values(ticked_at=StudyRow.ticked_at - seconds_ago))

    last_tick(5.0)
    assert queue.tick() == pytest.approx(5.0, abs=3.0)
    last_tick(1000.0)  # nobody worked
    assert queue.tick() == pytest.approx(5.0, abs=3.0)
    last_tick(10.0)
    queue.rest()
    assert queue.tick() == queue.spent() == pytest.approx(15.0, abs=3.0)


def test_no_worker_of_a_fleet_waits_to_count_the_time_that_another_just_counts(
    new_database: Callable[[], str],
) -> None:
    """On a server: in SQLite all writes wait for each other."""
    database = Database(new_database())
    other = Database(database.url)
    with database.session.begin() as session:
        session.add(StudyRow(study_id=1, name="one", config={}, record={}))
    queue = Queue(database.session, 1)
    assert queue.tick() == 0.0
    with database.session.begin() as session:
        session.execute(update(StudyRow).values(ticked_at=StudyRow.ticked_at - 10.0))
    with other.session.begin() as session:
        session.execute(update(StudyRow).values(finished=1))  # it holds the row until the end
        # It does not wait: the time is told, and stored by who ticks next.
        assert queue.tick() == pytest.approx(10.0, abs=3.0)
        assert queue.spent() == 0.0
    queue.tick()
    assert queue.spent() == pytest.approx(10.0, abs=3.0)
    stored = queue.spent()
    queue.tick()  # none is due yet
    assert queue.spent() == stored
    database.close()
    other.close()


def test_an_open_study_is_stopped_at_its_time_limit_and_a_paused_one_stays_paused(
    database: Database, study_id: int, queue: Queue
) -> None:
    with database.session.begin() as session:
        session.execute(update(StudyRow).values(seconds=10.0))
    assert not queue.stop_at_limit(None)
    assert not queue.stop_at_limit(60.0)
    queue.pause()
    assert queue.stop_at_limit(5.0)
    assert state(database, study_id)[0] == StudyState.PAUSED
    open_again(database.session, study_id)
    assert queue.stop_at_limit(5.0)
    assert state(database, study_id) == (StudyState.STOPPED, "study.timeout=5 s is up", True)


def test_units_are_counted_by_state(database: Database, queue: Queue) -> None:
    assert queue.counts() == {WorkState.OPEN: 3, WorkState.RUNNING: 0, WorkState.DONE: 0}
    assert queue.total() == 3
    with database.session() as session:
        assert session.query(TrialSlotRow).count() == 3


def test_the_start_and_the_end_of_a_trial_are_signs_of_work(
    database: Database, queue: Queue, claims: TrialClaims
) -> None:
    claim = claims.claim(take_over=False)
    assert claim is not None
    claims.started(claim, {}, {}, "cpu", {})
    with database.session.begin() as session:
        session.execute(update(StudyRow).values(ticked_at=StudyRow.ticked_at - 5.0))
    claims.finish(claim, Ending(Outcome.COMPLETE, 1.0), 1.0)
    assert queue.spent() == pytest.approx(5.0, abs=3.0)


def test_a_unit_added_by_hand_is_claimed_first_and_stands_outside_the_plan(
    queue: Queue, claims: TrialClaims
) -> None:
    assert [queue.add_by_hand({"lr": 0.5}, seed=0), queue.add_by_hand({}, seed=0)] == [-1, -2]
    assert (queue.total(), queue.planned()) == (5, 3)
    assert queue.trim(2) == 2
    queue.replan([({"lr": 9.0}, 0)] * 2)
    claimed = [claims.claim(take_over=False) for _ in range(4)]
    assert [one.number for one in claimed if one is not None] == [-2, -1, 0, 1]
    assert [one.params for one in claimed if one is not None] == [
        {}, {"lr": 0.5}, {"lr": 9.0}, {"lr": 9.0},
    ]  # fmt: skip
    assert len({one.seed for one in claimed if one is not None}) == 4
