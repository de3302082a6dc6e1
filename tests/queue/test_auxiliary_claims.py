"""Side runs have one owner at a time, by the rules of units, and leave the trials alone."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from shop import Shop

from lrsearch.queue.auxiliary_claims import AuxiliaryClaims
from lrsearch.queue.endings import Ending, reopen_failed
from lrsearch.queue.leasing import LeaseLost
from lrsearch.states import Outcome, WorkState
from lrsearch.storage.tables import AuxiliaryRunRow
from lrsearch.study.follow_up import open_again
from lrsearch.study.index import StudyIndex


class SideRuns(Shop[AuxiliaryClaims]):
    """Three of two kinds, in a study without trials."""

    kind, table = AuxiliaryClaims, AuxiliaryRunRow

    def __init__(self, url: str) -> None:
        super().__init__(url)
        with self.database.session.begin() as session:
            for number, kind in ((0, "odd"), (0, "even"), (1, "odd")):
                session.add(
                    AuxiliaryRunRow(
                        study_id=self.study_id, kind=kind, number=number, seed=number,
                        recipe={"lr": 0.1}, trial_number=7,
                    )
                )  # fmt: skip
                session.flush()


@pytest.fixture
def shop(either_url: str) -> Iterator[SideRuns]:
    shop = SideRuns(either_url)
    yield shop
    shop.close()


def test_they_are_claimed_in_the_order_in_which_they_were_added_each_once(shop: SideRuns) -> None:
    claimed = [shop.worker(f"w{k}").claim(take_over=True) for k in range(4)]
    assert [claim and (claim.kind, claim.number) for claim in claimed] == [
        ("odd", 0), ("even", 0), ("odd", 1), None,
    ]  # fmt: skip
    first = claimed[0]
    assert first is not None
    assert (first.recipe, first.seed, first.trial_number, first.attempt, first.result) == (
        {"lr": 0.1}, 0, 7, 1, {},
    )  # fmt: skip


def test_one_kind_can_be_claimed_alone(shop: SideRuns) -> None:
    claim = shop.worker("a").claim(False, "even")
    assert claim is not None
    assert claim.kind == "even"
    assert shop.worker("a").claim(False, "even") is None


def test_many_workers_never_share_one(shop: SideRuns) -> None:
    with shop.database.session.begin() as session:
        session.add_all(
            AuxiliaryRunRow(study_id=shop.study_id, kind="odd", number=k, seed=k)
            for k in range(2, 30)
        )

    def work(name: int) -> list[int]:
        worker, mine = shop.worker(str(name)), []
        while claim := worker.claim(take_over=False):
            mine.append(claim.row_id)
        return mine

    with ThreadPoolExecutor(2) as pool:
        claimed = [one for mine in pool.map(work, range(2)) for one in mine]
    assert len(claimed) == len(set(claimed)) == 31


def test_nothing_is_claimed_of_a_study_that_is_not_open(shop: SideRuns) -> None:
    shop.queue.pause()
    assert shop.worker("a").claim(take_over=True) is None
    open_again(shop.database.session, shop.study_id)
    assert shop.worker("a").claim(take_over=True) is not None


def test_whoever_lost_its_lease_changes_nothing_more(shop: SideRuns) -> None:
    late, claim = shop.claim("a")
    shop.claim("b"), shop.claim("c")
    late.record(claim, {"curve": [1.0]})
    shop.expire(claim)
    assert shop.worker("d").claim(take_over=False) is None
    _, taken = shop.claim("d", take_over=True)
    assert (taken.row_id, taken.attempt) == (claim.row_id, 2)
    assert taken.result == {"curve": [1.0]}
    for write in (
        lambda: late.renew(claim),
        lambda: late.started(claim, "cpu"),
        lambda: late.record(claim, {}),
        lambda: late.finish(claim, Ending(Outcome.COMPLETE, 0.0), {}, 1.0),
        lambda: late.give_back(claim),
    ):
        with pytest.raises(LeaseLost):
            write()
    row = shop.row(claim)
    assert (row.state, row.owner, row.device, row.result) == (
        WorkState.RUNNING, "d/1/1.00", None, {"curve": [1.0]},
    )  # fmt: skip


def test_one_that_ends_its_workers_is_given_up(shop: SideRuns) -> None:
    _, claim = shop.claim("a")
    shop.claim("b"), shop.claim("c")
    for attempt in (2, 3):
        shop.expire(claim)
        _, claim = shop.claim("d", take_over=True)
        assert claim.attempt == attempt
    shop.expire(claim)
    assert shop.worker("e").claim(take_over=True) is None
    row = shop.row(claim)
    assert (row.state, row.outcome, row.deaths) == (WorkState.DONE, Outcome.CRASHED, 3)
    assert "3 times" in str(row.reason)


def test_one_that_ends_its_worker_is_open_again_and_in_the_end_given_up(shop: SideRuns) -> None:
    for attempt in (1, 2, 3):
        worker, claim = shop.claim("a")
        assert claim.attempt == attempt
        worker.died(claim, "it hangs")
        worker.died(claim, "it hangs")
        assert shop.row(claim).deaths == attempt
    row = shop.row(claim)
    assert (row.state, row.outcome) == (WorkState.DONE, Outcome.CRASHED)
    assert "it hangs" in str(row.reason)


def test_those_of_the_dead_are_opened_at_once(shop: SideRuns) -> None:
    _, claim = shop.claim("dead")
    _, other = shop.claim("alive")

    def is_dead(owner: str) -> bool:
        return owner.startswith("dead")

    shop.reclaim_dead(is_dead)
    assert (shop.row(claim).state, shop.row(claim).deaths) == (WorkState.OPEN, 1)
    assert shop.row(other).state == WorkState.RUNNING
    _, again = shop.claim("dead")
    shop.reclaim_dead(is_dead, blame=False)
    assert (again.row_id, shop.row(again).deaths) == (claim.row_id, 1)


def test_one_that_was_handed_back_is_open_and_it_counts_against_nobody(shop: SideRuns) -> None:
    worker, claim = shop.claim("a")
    worker.record(claim, {"curve": [0.5]})
    worker.give_back(claim)
    _, again = shop.claim("b")
    assert (again.row_id, again.result) == (claim.row_id, {"curve": [0.5]})
    assert shop.row(claim).deaths == 0


def test_one_that_is_finished_keeps_what_it_has_found(shop: SideRuns) -> None:
    worker, claim = shop.claim("a")
    worker.started(claim, "cpu")
    assert not worker.is_finished(claim)
    worker.finish(claim, Ending(Outcome.COMPLETE, 0.25), {"curve": [0.5, 0.25]}, 1.5)
    assert worker.is_finished(claim)
    row = shop.row(claim)
    assert (row.outcome, row.value, row.result, row.seconds, row.device) == (
        Outcome.COMPLETE, 0.25, {"curve": [0.5, 0.25]}, 1.5, "cpu",
    )  # fmt: skip
    assert row.finished_at is not None


def test_failed_ones_can_be_tried_again_and_they_make_no_trial(shop: SideRuns) -> None:
    worker, claim = shop.claim("a")
    worker.finish(claim, Ending(Outcome.FAILED, reason="no disk"), {}, 1.0)
    assert reopen_failed(shop.database.session, shop.study_id) == 1
    _, again = shop.claim("b")
    assert again.row_id == claim.row_id
    assert shop.queue.total() == 0
    assert not shop.studies.has_trials("one")


def test_they_go_with_their_study(shop: SideRuns) -> None:
    shop.claim("a")
    StudyIndex(shop.database.session).delete(shop.study_id)
    with shop.database.session() as session:
        assert session.query(AuxiliaryRunRow).count() == 0
