"""The queue of budget units: who claims what, and what keeps the total."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from lrsearch.study.database import Database
from lrsearch.study.queue import Outcome, Queue, is_dead, owner_name
from lrsearch.study.tables import (
    COMPLETE,
    DONE,
    FAILED,
    OPEN,
    RUNNING,
    EpochRow,
    StudyRow,
)


@pytest.fixture
def queue(database: Database) -> Queue:
    with database.session.begin() as session:
        session.add(StudyRow(study_id=1, name="one", config={}, record={}))
    queue = Queue(database.session, 1)
    queue.add([({"lr": 0.1}, 11), ({}, 12), ({}, 13)])
    return queue


def test_units_are_claimed_in_order_each_once(queue: Queue) -> None:
    claimed = [queue.claim(f"worker {k}") for k in range(4)]
    assert [unit and unit.number for unit in claimed] == [0, 1, 2, None]
    first = claimed[0]
    assert first is not None
    assert (dict(first.params), first.seed, first.attempts, first.trial_id) == (
        {"lr": 0.1},
        11,
        1,
        None,
    )
    assert queue.counts() == {OPEN: 0, RUNNING: 3, DONE: 0}


def test_many_workers_never_share_a_unit(database: Database, queue: Queue) -> None:
    queue.add([({}, k) for k in range(97)], first=3)

    def work(worker: int) -> list[int]:
        mine = []
        while unit := queue.claim(f"worker {worker}"):
            mine.append(unit.number)
        return mine

    with ThreadPoolExecutor(8) as pool:
        numbers = [number for mine in pool.map(work, range(8)) for number in mine]
    assert sorted(numbers) == list(range(100))


def test_studies_do_not_see_each_others_units(database: Database, queue: Queue) -> None:
    with database.session.begin() as session:
        session.add(StudyRow(study_id=2, name="two", config={}, record={}))
    other = Queue(database.session, 2)
    assert other.claim("worker") is None
    assert other.total() == 0


def test_a_unit_given_back_is_claimed_again_without_counting_as_an_attempt(queue: Queue) -> None:
    unit = queue.claim("worker")
    assert unit is not None
    queue.started(unit, trial_id=5, trial_number=0, recipe={}, device="cpu")
    queue.give_back(unit.unit_id)
    again = queue.claim("another")
    assert again is not None
    assert (again.number, again.attempts, again.trial_id) == (0, 1, 5)


def test_a_unit_whose_worker_died_counts_the_attempt(queue: Queue) -> None:
    unit = queue.claim("worker")
    assert unit is not None
    queue.reopen(unit.unit_id)
    again = queue.claim("another")
    assert again is not None
    assert (again.number, again.attempts) == (0, 2)


def test_evaluations_of_an_earlier_attempt_are_removed(database: Database, queue: Queue) -> None:
    unit = queue.claim("worker")
    assert unit is not None
    queue.started(unit, trial_id=5, trial_number=0, recipe={}, device="cpu")
    row = {"step": 1, "epoch": 1.0, "lr_start": 0.1, "lr_end": 0.1, "seconds": 0.0}
    queue.record(EpochRow(trial_id=5, metrics={}, **row))
    queue.reopen(unit.unit_id)
    again = queue.claim("another")
    assert again is not None
    queue.started(again, trial_id=5, trial_number=0, recipe={}, device="cpu")
    queue.record(EpochRow(trial_id=5, metrics={}, **row))  # the same step, no longer taken
    with database.session() as session:
        assert session.query(EpochRow).count() == 1


def test_a_finished_unit_stays_finished(queue: Queue) -> None:
    unit = queue.claim("worker")
    assert unit is not None
    queue.finish(unit.unit_id, Outcome(COMPLETE, 0.5), seconds=1.5)
    queue.give_back(unit.unit_id)
    queue.reopen(unit.unit_id)
    assert queue.counts()[DONE] == 1


def test_a_smaller_budget_takes_away_untouched_units_alone(queue: Queue) -> None:
    queue.claim("worker")
    assert queue.trim(0) == 1
    assert queue.counts() == {OPEN: 0, RUNNING: 1, DONE: 0}


def test_a_unit_that_was_handed_back_keeps_its_trial_and_is_not_taken_away(queue: Queue) -> None:
    unit = queue.claim("worker")
    assert unit is not None
    queue.started(unit, trial_id=5, trial_number=0, recipe={}, device="cpu")
    queue.give_back(unit.unit_id)
    assert queue.trim(0) == 1
    queue.replan([({"lr": 0.5}, 1)] * 3)
    again = queue.claim("worker")
    assert again is not None
    assert (again.trial_id, dict(again.params)) == (5, {"lr": 0.1})


def fail(queue: Queue, outcome: str, reason: str) -> None:
    unit = queue.claim("worker")
    assert unit is not None
    queue.finish(unit.unit_id, Outcome(outcome, reason=reason))


def test_three_failures_in_a_row_stop_the_study_with_the_last_cause(queue: Queue) -> None:
    queue.add([({}, k) for k in range(5)], first=3)
    for outcome in (FAILED, FAILED, COMPLETE, FAILED, FAILED):
        fail(queue, outcome, "early")
        assert queue.stop_after_failures() is None
    fail(queue, FAILED, "no such layer")
    assert queue.stop_after_failures() == "no such layer"
    assert queue.claim("worker") is None
    assert queue.counts()[OPEN] == 2


def test_wall_clock_adds_up_over_runs(queue: Queue) -> None:
    queue.spend(1.5)
    queue.spend(2.0)
    assert queue.spent() == 3.5


def test_an_owner_is_dead_when_its_process_is_gone_and_nobody_elses_is_judged() -> None:
    host, pid, started = owner_name().rsplit("/", 2)
    assert not is_dead(owner_name())
    assert is_dead(f"{host}/{pid}/{float(started) - 100:.2f}")  # the number was used again
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert is_dead(f"{host}/{child.pid}/1.00")
    assert not is_dead(f"another-host/{os.getpid()}/1.00")
