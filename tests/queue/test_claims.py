"""What a worker may do to a unit, and what it may not once the unit is another's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState
from shop import TERMS, Shop
from sqlalchemy import select, update

from lrsearch.queue.endings import Ending, reopen_failed
from lrsearch.queue.leasing import LONGEST_LEASE, LeaseLost
from lrsearch.queue.trial_claims import TrialClaim, TrialClaims
from lrsearch.states import Outcome, WorkState
from lrsearch.storage.optuna_bridge import UNIT
from lrsearch.storage.tables import EvaluationRow, StudyRow, TrialSlotRow
from lrsearch.study.index import StudyIndex


class Units(Shop[TrialClaims]):
    """Three of them."""

    kind, table = TrialClaims, TrialSlotRow

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.queue.add([({"lr": 0.1}, 11), ({}, 12), ({}, 13)])

    def steps(self, claim: TrialClaim) -> list[int]:
        with self.database.session() as session:
            found = select(EvaluationRow.step).where(EvaluationRow.trial_id == claim.trial_id)
            return list(session.scalars(found.order_by(EvaluationRow.step)))

    def optuna(self) -> optuna.Study:
        return optuna.load_study(study_name="one", storage=self.url)


@pytest.fixture
def shop(either_url: str) -> Iterator[Units]:
    shop = Units(either_url)
    yield shop
    shop.close()


def row(shop: Units, claim: TrialClaim, evaluation: int, value: float = 0.5) -> dict[str, object]:
    return {
        "trial_id": claim.trial_id, "study_id": shop.study_id, "step": 10 * evaluation,
        "evaluation": evaluation, "epoch": float(evaluation), "value": value, "train_loss": 1.0,
        "val_loss": value, "lr_start": 0.1, "lr_end": 0.1, "grad_norm": None, "seconds": 0.1,
        "metrics": {},
    }  # fmt: skip


# Claiming


def test_units_are_claimed_in_order_each_once_and_each_with_a_trial(shop: Units) -> None:
    claimed = [shop.worker(f"w{k}").claim(take_over=True) for k in range(4)]
    assert [claim and claim.number for claim in claimed] == [0, 1, 2, None]
    first = claimed[0]
    assert first is not None
    assert (dict(first.params), first.seed, first.attempt, first.is_new) == (
        {"lr": 0.1}, 11, 1, True,
    )  # fmt: skip
    assert shop.queue.counts() == {WorkState.OPEN: 0, WorkState.RUNNING: 3, WorkState.DONE: 0}
    trials = shop.optuna().trials
    assert [trial.number for trial in trials] == [0, 1, 2]
    assert [trial.user_attrs[UNIT] for trial in trials] == [0, 1, 2]
    assert {trial.state for trial in trials} == {TrialState.RUNNING}


def test_many_workers_never_share_a_unit_or_a_trial_number(shop: Units) -> None:
    shop.queue.add([({}, k) for k in range(37)], first=3)

    def work(name: int) -> list[tuple[int, int]]:
        worker, mine = shop.worker(str(name)), []
        while claim := worker.claim(take_over=False):
            mine.append((claim.number, claim.trial_number))
        return mine

    with ThreadPoolExecutor(2) as pool:  # as many as one process has connections
        claimed = [one for mine in pool.map(work, range(2)) for one in mine]
    assert sorted(number for number, _ in claimed) == list(range(40))
    assert sorted(number for _, number in claimed) == list(range(40))


# Leases


def test_a_unit_is_taken_over_under_its_own_trial_when_its_lease_has_run_out(shop: Units) -> None:
    _, first = shop.claim("a")
    shop.claim("b"), shop.claim("c")
    assert shop.worker("d").claim(take_over=True) is None
    shop.expire(first)
    assert shop.worker("d").claim(take_over=False) is None
    _, second = shop.claim("d", take_over=True)
    assert (second.number, second.trial_id, second.attempt) == (0, first.trial_id, 2)
    assert not second.is_new
    assert len(shop.optuna().trials) == 3


def test_whoever_lost_its_lease_changes_nothing_more(shop: Units) -> None:
    late, claim = shop.claim("a")
    shop.claim("b"), shop.claim("c")
    late.record(claim, [row(shop, claim, 1)])
    shop.expire(claim)
    current, taken = shop.claim("d", take_over=True)
    current.record(taken, [row(shop, taken, 2)])
    before = shop.row(claim).leased_until
    writes = (
        lambda: late.renew(claim),
        lambda: late.record(claim, [row(shop, claim, 3)]),
        lambda: late.record(claim, [], replace_from=1),
        lambda: late.started(claim, {}, {"lr": 9}, "cpu", {"lr": 9.0}),
        lambda: late.finish(claim, Ending(Outcome.COMPLETE, 0.0), 1.0),
        lambda: late.give_back(claim),
    )
    for write in writes:
        with pytest.raises(LeaseLost):
            write()
    unit = shop.row(claim)
    assert (unit.state, unit.owner, unit.recipe) == (WorkState.RUNNING, "d/1/1.00", None)
    assert unit.leased_until == before
    assert shop.steps(claim) == [10, 20]
    trial = shop.optuna().trials[0]
    assert trial.state == TrialState.RUNNING
    assert trial.intermediate_values == {1: 0.5, 2: 0.5}
    assert "lr" not in trial.user_attrs
    assert not late.is_over(claim)  # what it has written is deleted by whoever ends the trial
    current.finish(taken, Ending(Outcome.COMPLETE, 0.5), 1.0)
    assert late.is_over(claim)


def test_an_owner_that_renews_in_time_keeps_its_unit_even_after_a_silence(shop: Units) -> None:
    worker, claim = shop.claim("a")
    shop.claim("b"), shop.claim("c")
    shop.expire(claim)
    worker.renew(claim)  # nobody had taken it
    assert shop.worker("d").claim(take_over=True) is None


def set_back(shop: Units, seconds: float) -> None:
    """As if the database's clock had been set back since all leases were given."""
    with shop.database.session.begin() as session:
        session.execute(
            update(TrialSlotRow).values(leased_until=TrialSlotRow.leased_until + seconds)
        )


def test_after_the_clock_was_set_back_the_unit_of_a_dead_owner_is_taken_over_at_once(
    shop: Units,
) -> None:
    _, claim = shop.claim("dead")
    shop.claim("b"), shop.claim("c")
    index = StudyIndex(shop.database.session)
    assert index.running_now(shop.study_id) == 3
    set_back(shop, 3600.0)
    assert index.running_now(shop.study_id) == 0
    again = shop.worker("d").claim(take_over=True)
    assert again is not None
    assert (again.row_id, again.attempt) == (claim.row_id, 2)
    assert shop.row(again).deaths == 0  # it may have been the clock


def test_after_the_clock_was_set_back_an_owner_that_renews_keeps_its_unit(shop: Units) -> None:
    worker, claim = shop.claim("a")
    set_back(shop, 3600.0)
    worker.renew(claim)
    shop.claim("b"), shop.claim("c")
    assert shop.worker("d").claim(take_over=True) is None


def test_a_clock_that_is_corrected_by_a_little_voids_no_lease(shop: Units) -> None:
    shop.claim("a"), shop.claim("b"), shop.claim("c")
    set_back(shop, 1.0)
    assert shop.worker("d").claim(take_over=True) is None


def test_a_lease_that_was_given_before_queue_lease_was_lowered_is_valid(shop: Units) -> None:
    shop.claim("a"), shop.claim("b"), shop.claim("c")
    set_back(shop, 600.0 - TERMS.lease)  # as long as leases of 600 seconds are
    with shop.database.session.begin() as session:
        session.execute(update(StudyRow).values(record={LONGEST_LEASE: 600.0}))
    assert shop.worker("d").claim(take_over=True) is None
    set_back(shop, 3600.0)
    assert shop.worker("d").claim(take_over=True) is not None


def test_a_unit_that_ends_its_workers_is_given_up_with_what_is_known(shop: Units) -> None:
    worker, claim = shop.claim("a")
    shop.claim("b"), shop.claim("c")
    worker.record(claim, [row(shop, claim, 1, 0.75)])
    for attempt in (2, 3):
        shop.expire(claim)
        _, claim = shop.claim("d", take_over=True)
        assert claim.attempt == attempt
    shop.expire(claim)
    assert shop.worker("e").claim(take_over=True) is None
    unit = shop.row(claim)
    assert (unit.state, unit.outcome, unit.value, unit.deaths) == (
        WorkState.DONE,
        Outcome.CRASHED,
        0.75,
        3,
    )
    assert shop.optuna().trials[0].state == TrialState.FAIL
    assert shop.optuna().trials[0].user_attrs["status"] == Outcome.CRASHED


def test_a_unit_that_ends_its_worker_is_open_again_and_each_death_counts_once(
    shop: Units,
) -> None:
    worker, claim = shop.claim("a")
    worker.died(claim, "it hangs")
    worker.died(claim, "it hangs")
    shop.reclaim_dead(lambda owner: True)
    assert (shop.row(claim).state, shop.row(claim).deaths) == (WorkState.OPEN, 1)
    assert shop.optuna().trials[0].state == TrialState.WAITING
    _, again = shop.claim("b")
    assert (again.number, again.trial_id, again.attempt) == (0, claim.trial_id, 2)
    worker.died(claim, "it hangs")  # another has it
    assert (shop.row(claim).state, shop.row(claim).deaths) == (WorkState.RUNNING, 1)


def test_a_unit_that_ends_too_many_is_given_up_with_what_ended_the_last(shop: Units) -> None:
    for attempt in (1, 2, 3):
        worker, claim = shop.claim("a")
        assert (claim.number, claim.attempt) == (0, attempt)
        worker.died(claim, f"hung the {attempt}. time")
    unit = shop.row(claim)
    assert (unit.state, unit.outcome, unit.deaths) == (WorkState.DONE, Outcome.CRASHED, 3)
    assert "hung the 3. time" in str(unit.reason)
    assert shop.claim("a")[1].number == 1


def lease_runs_out(shop: Units, worker: TrialClaims, claim: TrialClaim) -> None:
    shop.expire(claim)


def process_is_gone(shop: Units, worker: TrialClaims, claim: TrialClaim) -> None:
    shop.reclaim_dead(lambda owner: True)


def worker_says_so(shop: Units, worker: TrialClaims, claim: TrialClaim) -> None:
    worker.died(claim, "it hangs")


@pytest.mark.parametrize("die", [lease_runs_out, process_is_gone, worker_says_so])
def test_however_workers_die_their_work_goes_on_and_is_given_up_after_the_same_deaths(
    shop: Units, die: Callable[[Units, TrialClaims, TrialClaim], None]
) -> None:
    shop.queue.trim(1)
    for attempt in range(1, TERMS.max_attempts + 1):
        worker, claim = shop.claim("a", take_over=True)
        assert (claim.number, claim.attempt) == (0, attempt)
        die(shop, worker, claim)
    assert shop.worker("b").claim(take_over=True) is None
    with pytest.raises(LeaseLost):
        worker.renew(claim)
    assert (shop.row(claim).outcome, shop.row(claim).deaths) == (Outcome.CRASHED, 3)


def is_dead(owner: str) -> bool:
    return owner.startswith("dead")


def test_the_dead_are_buried_at_once_and_their_units_opened(shop: Units) -> None:
    _, claim = shop.claim("dead")
    shop.claim("alive")
    shop.reclaim_dead(is_dead)
    assert shop.queue.counts() == {WorkState.OPEN: 2, WorkState.RUNNING: 1, WorkState.DONE: 0}
    assert shop.row(claim).deaths == 1
    assert shop.optuna().trials[0].state == TrialState.WAITING
    shop.claim("dead")
    shop.reclaim_dead(is_dead, blame=False)
    assert shop.row(claim).deaths == 1


def test_a_unit_that_was_handed_back_goes_on_and_it_counts_against_nobody(shop: Units) -> None:
    worker, claim = shop.claim("a")
    worker.record(claim, [row(shop, claim, 1)])
    worker.give_back(claim)
    assert shop.optuna().trials[0].state == TrialState.WAITING
    with pytest.raises(LeaseLost):
        worker.renew(claim)
    _, again = shop.claim("b")
    assert (again.number, again.trial_id, again.is_new) == (0, claim.trial_id, False)
    (evaluation,) = shop.worker("b").reported(again)
    assert (evaluation.epoch, evaluation.value) == (1.0, 0.5)
    assert shop.row(claim).deaths == 0
    assert shop.optuna().trials[0].state == TrialState.RUNNING


# Writing


def test_evaluations_can_be_written_twice_and_replaced_without_gap_or_duplicate(
    shop: Units,
) -> None:
    worker, claim = shop.claim("a")
    worker.record(claim, [row(shop, claim, 1), row(shop, claim, 2)])
    # The answer to this one was lost: the same again, replacing.
    worker.record(claim, [row(shop, claim, 2), row(shop, claim, 3)], replace_from=2)
    assert shop.steps(claim) == [10, 20, 30]
    assert list(shop.optuna().trials[0].intermediate_values) == [1, 2, 3]
    worker.record(claim, [row(shop, claim, 1, 0.25)], replace_from=1)
    assert shop.steps(claim) == [10]
    assert shop.optuna().trials[0].intermediate_values == {1: 0.25}


CHOSEN = {
    "lr": (0.01, FloatDistribution(1e-4, 1.0, log=True)),
    "batch": (64, IntDistribution(16, 128, log=True)),
    "scheduler": ("cosine", CategoricalDistribution(("step", "cosine"))),
}


@pytest.mark.parametrize(
    ("outcome", "state", "value", "constraint"),
    [
        (Outcome.COMPLETE, TrialState.COMPLETE, 0.5, -1.0),
        (Outcome.PRUNED, TrialState.PRUNED, 0.5, -1.0),
        (Outcome.DIVERGED, TrialState.PRUNED, 0.5, 1.0),
        (Outcome.FAILED, TrialState.FAIL, None, 1.0),
    ],
)
def test_optuna_reads_a_finished_trial_as_if_it_had_made_it_itself(
    shop: Units, outcome: str, state: TrialState, value: float | None, constraint: float
) -> None:
    """The contract with this version of Optuna: its own trial beside ours, read the same way."""
    worker, claim = shop.claim("a")
    worker.started(claim, CHOSEN, {"lr": 0.01}, "cpu", {"lr": 0.01, "seed": 11})
    worker.record(claim, [row(shop, claim, 1, 0.75), row(shop, claim, 2, 0.5)])
    worker.finish(claim, Ending(outcome, value=0.5, reason="why", step=3, lr=0.1), 1.23456)

    study = shop.optuna()
    theirs = study.ask({name: distribution for name, (_, distribution) in CHOSEN.items()})
    theirs.report(0.75, 1)
    theirs.report(0.5, 2)
    theirs.set_constraint("works", constraint)
    study.tell(theirs, 0.5 if state == TrialState.COMPLETE else None, state=state)

    ours, reference = shop.optuna().trials
    assert (ours.number, reference.number) == (0, 1)
    assert ours.state == reference.state == state
    assert ours.value == reference.value == value
    assert ours.intermediate_values == reference.intermediate_values
    assert ours.distributions == reference.distributions
    assert ours.params == {name: value for name, (value, _) in CHOSEN.items()}
    assert ours.constraints == reference.constraints == {"works": constraint}
    assert ours.user_attrs == {
        UNIT: 0, "lr": 0.01, "seed": 11, "status": outcome, "reason": "why", "seconds": 1.235,
        "epochs": 2.0, "final lr": 0.1,
    }  # fmt: skip
    assert ours.datetime_start is not None
    assert ours.datetime_complete is not None
    assert ours.datetime_start <= ours.datetime_complete
    if state == TrialState.COMPLETE:
        assert shop.optuna().best_trial.number in (0, 1)


def test_finishing_marks_the_evaluations_of_complete_trials_and_numbers_the_ends(
    shop: Units,
) -> None:
    for outcome in (Outcome.COMPLETE, Outcome.PRUNED):
        worker, claim = shop.claim("a")
        worker.record(claim, [row(shop, claim, 1)])
        worker.finish(claim, Ending(outcome, 0.5), 1.0)
        assert worker.is_finished(claim)
    with shop.database.session() as session:
        complete = list(
            session.scalars(select(EvaluationRow.complete).order_by(EvaluationRow.trial_id))
        )
        orders = list(
            session.scalars(select(TrialSlotRow.finish_order).order_by(TrialSlotRow.number))
        )
    assert complete == [True, False]
    assert orders == [1, 2, None]


def test_failed_trials_can_be_tried_again_under_their_own_numbers(shop: Units) -> None:
    worker, claim = shop.claim("a")
    worker.finish(claim, Ending(Outcome.FAILED, reason="no disk"), 1.0)
    worker, fine = shop.claim("a")
    worker.finish(fine, Ending(Outcome.COMPLETE, 1.0), 1.0)
    assert reopen_failed(shop.database.session, shop.study_id) == 1
    assert shop.optuna().trials[0].state == TrialState.WAITING
    worker, again = shop.claim("b")
    assert again.trial_number == claim.trial_number
    worker.finish(again, Ending(Outcome.COMPLETE, 0.5), 1.0)
    first = shop.optuna().trials[0]
    assert "epochs" not in first.user_attrs
    assert (first.state, first.value) == (TrialState.COMPLETE, 0.5)
    assert first.constraints == {"works": -1.0}
    assert "reason" not in first.user_attrs
