"""What becomes of a trial's evaluations, also while the database does not answer."""

from __future__ import annotations

import dataclasses
import math
import sqlite3
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, cast

import pytest
from sqlalchemy.exc import OperationalError

from lrsearch.errors import TrialPruned, UserError
from lrsearch.evaluation import Evaluation
from lrsearch.queue.leasing import LeaseLost, Orders
from lrsearch.queue.trial_claims import Row, TrialClaim
from lrsearch.settings import MetricSettings
from lrsearch.storage.outages import Contact
from lrsearch.training.loop import Diverged, Stopped
from lrsearch.tuning.pruners.rules import Peers, Pruner, Running
from lrsearch.tuning.trajectory import LrTrajectory
from lrsearch.workers.lease import Lease
from lrsearch.workers.reporter import NoFiniteValue, Outbox, Reporter
from lrsearch.workers.stall import StallWatch

LOCKED = OperationalError("insert", {}, sqlite3.OperationalError("database is locked"))
LOCKED.orig.sqlite_errorcode = sqlite3.SQLITE_BUSY  # type: ignore[union-attr]


class Stored:
    """Claims on a database that answers when told to."""

    study_id = 7

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.failure: Exception | None = None
        self.committed_without_answer = False
        self.orders = Orders(hand_back=False)

    def renew(self, claim: TrialClaim) -> Orders:
        return self.record(claim, [])

    def record(
        self,
        claim: TrialClaim,
        rows: Sequence[Row],
        replace_from: int | None = None,
    ) -> Orders:
        if self.failure is not None and not self.committed_without_answer:
            raise self.failure
        if replace_from is not None:
            self.rows = [row for row in self.rows if row["evaluation"] < replace_from]
        self.rows += rows
        assert len(self.indices()) == len(set(self.indices())), "written twice"
        if self.failure is not None:
            raise self.failure
        return self.orders

    def indices(self) -> list[int]:
        return [row["evaluation"] for row in self.rows]


def evaluation(index: int, value: float = 0.5, epoch: float | None = None) -> Evaluation:
    return Evaluation(
        index=index, epoch=float(index) if epoch is None else epoch, step=10 * index,
        values={"train_loss": 1.0, "val_loss": value}, lr_start=(0.1, 0.2), lr_end=(0.05, 0.1),
        grad_norm=1.5, clipped=0.25, seconds=2.0, groups=("default", "head"),
    )  # fmt: skip


def reported(values: Sequence[float | None]) -> list[Evaluation]:
    """The evaluations of an earlier attempt, one an epoch, as they are read back."""
    return [
        dataclasses.replace(evaluation(index), value=value) for index, value in enumerate(values, 1)
    ]


class Counting(Pruner):
    """Decides always the same; counts how often it was asked, with what was stored by then."""

    def __init__(self, stored: Stored) -> None:
        self.stored, self.prunes = stored, False
        self.seen: list[list[int]] = []
        self.judged: list[Running] = []

    def should_prune(self, trial: Running, peers: Peers) -> bool:
        self.seen.append(self.stored.indices())
        self.judged.append(trial)
        return self.prunes


FIVE = LrTrajectory(5, "sgd", 0.1, 64)
"""Of a training with five evaluations."""
TEN_EPOCHS = LrTrajectory(10, "sgd", 0.1, 64, unit="epoch", now=[0.1] * 100, left=[0.05] * 100)
"""Of a training loop of the user's own."""


class Bench:
    """A reporter on a database that can be broken."""

    def __init__(
        self,
        earlier: Sequence[Evaluation] = (),
        trajectory: LrTrajectory = FIVE,
        parts: int = 5,
        **metric: Any,
    ) -> None:
        self.stored = Stored()
        claims: Any = self.stored
        claim = TrialClaim(
            row_id=1, number=0, seed=5, attempt=1, params={}, trial_id=3, trial_number=0,
            is_new=not earlier,
        )  # fmt: skip
        stall = StallWatch(None, False, lambda cause: None)
        self.lease = Lease(lambda: claims.renew(claim), Contact(), 60.0, stall)
        self.outbox = Outbox(claims, claim)
        self.stopping = False
        self.pruner, peers = Counting(self.stored), cast(Peers, None)
        self.report = Reporter(
            MetricSettings(**metric), claims, claim, self.lease, self.outbox,
            self.pruner, lambda: nullcontext(peers), lambda: self.stopping,
        )  # fmt: skip
        self.report.begin(trajectory, parts, earlier)


def test_each_evaluation_is_a_row_with_all_that_is_known() -> None:
    bench = Bench()
    bench.report(evaluation(1, 0.25))
    (row,) = bench.stored.rows
    assert (row["trial_id"], row["study_id"], row["evaluation"], row["step"]) == (3, 7, 1, 10)
    assert (row["value"], row["val_loss"], row["train_loss"]) == (0.25, 0.25, 1.0)
    assert (row["lr_start"], row["lr_end"], row["grad_norm"]) == (0.1, 0.05, 1.5)
    assert row["metrics"] == {"clipped": 0.25, "lr_start_head": 0.2, "lr_end_head": 0.1}


def test_training_goes_on_through_an_outage_and_nothing_is_lost_or_pruned_meanwhile() -> None:
    bench = Bench()
    bench.report(evaluation(1))
    bench.stored.failure = LOCKED
    for index in (2, 3):
        bench.report(evaluation(index))
    assert bench.stored.indices() == [1]
    assert bench.lease.cut_off
    assert bench.pruner.seen == [[1]]
    bench.stored.failure = None
    bench.lease.reach(bench.outbox.flush)  # the thread beside the training
    assert bench.stored.indices() == [1, 2, 3]
    bench.report(evaluation(4))
    assert bench.stored.indices() == [1, 2, 3, 4]
    assert bench.pruner.seen == [[1], [1, 2, 3, 4]]


def test_what_was_committed_though_the_answer_was_lost_is_not_written_twice() -> None:
    bench = Bench()
    bench.report(evaluation(1))
    bench.stored.failure, bench.stored.committed_without_answer = LOCKED, True
    bench.report(evaluation(2))
    assert bench.stored.indices() == [1, 2]
    bench.stored.failure = None
    bench.lease.reach(bench.outbox.flush)
    assert bench.stored.indices() == [1, 2]


def test_a_lost_lease_ends_the_training_before_it_writes() -> None:
    bench = Bench()
    bench.stored.failure = LeaseLost()
    with pytest.raises(LeaseLost):
        bench.report(evaluation(1))
    assert bench.lease.lost


def with_f1(index: int, f1: float) -> Evaluation:
    plain = evaluation(index)
    return dataclasses.replace(plain, values={**plain.values, "val_f1": f1})


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_metric_that_is_not_a_number_is_an_error_that_names_it(bad: float) -> None:
    bench = Bench(name="val_f1", mode="max")
    with pytest.raises(UserError, match=r"the metric val_f1 is (nan|inf) at step 10.*val_loss 0.5"):
        bench.report(with_f1(1, bad))


@pytest.mark.parametrize("name", ["val_loss", "train_loss"])
def test_a_loss_that_is_not_a_number_is_a_divergence_whatever_the_metric_may_be(name: str) -> None:
    bench = Bench(name=name, nan="worst")
    broken = dataclasses.replace(evaluation(1), values={name: math.nan})
    with pytest.raises(Diverged):
        bench.report(broken)


@pytest.mark.parametrize(("mode", "best"), [("min", 0.2), ("max", 0.4)])
def test_as_the_worst_it_is_no_value_and_the_best_of_the_others_counts(
    mode: str, best: float
) -> None:
    bench = Bench(name="val_f1", mode=mode, nan="worst", at="best")
    for index, value in enumerate((math.nan, 0.4, 0.2, math.nan), start=1):
        bench.report(with_f1(index, value))
    assert [row["value"] for row in bench.stored.rows] == [None, 0.4, 0.2, None]
    assert bench.report.value() == best
    again = Bench(reported([None, 0.4]), name="val_f1", mode=mode, nan="worst")
    assert again.report.rewind(3.0) == 3


@pytest.mark.parametrize(
    ("at", "values"), [("last", [0.4, math.nan]), ("best", [math.nan, math.nan])]
)
def test_where_the_worst_counts_the_trial_is_worse_than_any_with_a_number(
    at: str, values: list[float]
) -> None:
    bench = Bench(name="val_f1", mode="max", nan="worst", at=at)

    for index, value in enumerate(values, start=1):
        bench.report(with_f1(index, value))
    with pytest.raises(NoFiniteValue, match=f"val_f1 was not finite at the {at} evaluation"):
        bench.report.value()


def test_a_pruned_trial_ends_but_never_at_its_last_evaluation() -> None:
    bench = Bench()
    bench.pruner.prunes = True
    with pytest.raises(TrialPruned):
        bench.report(evaluation(1))
    bench.report(evaluation(5))


def test_an_early_end_is_the_last_evaluation_and_is_remarked_on() -> None:
    bench = Bench()
    bench.pruner.prunes = bench.stopping = True
    bench.report(dataclasses.replace(evaluation(2), early_end="no gain"))
    assert bench.report.remark == "no gain"
    assert bench.stored.indices() == [2]


def test_whoever_is_told_to_stop_stops_after_its_evaluation_is_written() -> None:
    bench = Bench()
    bench.stopping = True
    with pytest.raises(Stopped):
        bench.report(evaluation(1))
    assert bench.stored.indices() == [1]


def test_the_value_is_that_of_the_best_or_the_last_evaluation() -> None:
    for metric, expected in (
        ({}, 0.75),
        ({"at": "best"}, 0.25),
        ({"at": "best", "mode": "max"}, 0.75),
    ):
        bench = Bench(**metric)
        for index, value in enumerate((0.5, 0.25, 0.75), start=1):
            bench.report(evaluation(index, value))
        assert bench.report.value() == expected


def test_a_metric_that_is_missing_or_no_number_ends_the_trial() -> None:
    with pytest.raises(UserError, match="'val_f1' was not reported; reported: train_loss"):
        Bench(name="val_f1").report(evaluation(1))
    with pytest.raises(Diverged):
        Bench().report(evaluation(1, float("nan")))


# Attempts after the first


def test_a_checkpoint_says_what_has_been_and_nothing_else_counts() -> None:
    bench = Bench(earlier=reported([0.9, 0.8, 0.7]))
    bench.report.restore([evaluation(1, 0.9), evaluation(2, 0.8)])
    bench.report(evaluation(3, 0.6))
    assert bench.stored.indices() == [1, 2, 3]
    assert bench.report.values == [0.9, 0.8, 0.6]


def test_without_a_checkpoint_the_old_rows_go() -> None:
    bench = Bench(earlier=reported([0.9, 0.8]))
    bench.stored.rows = [{"evaluation": 1}, {"evaluation": 2}]
    bench.report.restore([])
    bench.report(evaluation(1, 0.95))
    assert [row.get("value") for row in bench.stored.rows] == [0.95]


@pytest.mark.parametrize(
    ("first_epoch", "index", "kept"),
    [(1.0, 1, []), (3.0, 3, [0.9, 0.8]), (9.0, 4, [0.9, 0.8, 0.7])],
)
def test_the_users_own_training_goes_on_from_the_epoch_it_reports_first(
    first_epoch: float, index: int, kept: list[float]
) -> None:
    bench = Bench(earlier=reported([0.9, 0.8, 0.7]))
    bench.stored.rows = [{"evaluation": 1}, {"evaluation": 2}, {"evaluation": 3}]
    assert bench.report.rewind(first_epoch) == index
    bench.report(evaluation(index, 0.5, first_epoch))
    assert bench.report.values == [*kept, 0.5]
    assert bench.stored.indices() == list(range(1, index + 1))


# Progress of a training loop of the user's own


def dense(index: int, reports_an_epoch: int = 10, **changes: Any) -> Evaluation:
    """An evaluation of a loop that reports ten times an epoch."""
    plain = evaluation(index, 1.0 / index, index / reports_an_epoch)
    return dataclasses.replace(plain, **changes)


def test_ten_evaluations_an_epoch_are_judged_once_an_epoch_and_never_at_the_end() -> None:
    bench = Bench(trajectory=TEN_EPOCHS, parts=10)
    for index in range(1, 101):
        bench.report(dense(index))
    assert [len(seen) for seen in bench.pruner.seen] == [10, 20, 30, 40, 50, 60, 70, 80, 90]
    judged = bench.pruner.judged[2]
    assert list(judged.values) == [1 / 10, 1 / 20, 1 / 30]
    assert (list(judged.moments), judged.progress, judged.spacing) == ([1, 2, 3], 0.3, 0.1)
    rows = bench.stored.rows
    assert [row["moment"] for row in rows[:10]] == [None] * 9 + [1]
    assert [row["progress"] for row in rows[:3]] == [0.01, 0.02, 0.03]
    assert rows[-1]["progress"] == 1.0


def test_a_trial_is_pruned_at_a_tenth_of_its_training_and_not_before() -> None:
    bench = Bench(trajectory=TEN_EPOCHS, parts=10)
    bench.pruner.prunes = True
    for index in range(1, 10):
        bench.report(dense(index))
    with pytest.raises(TrialPruned):
        bench.report(dense(10))


def test_a_loop_that_reports_seldom_is_judged_at_each_report() -> None:
    bench = Bench(trajectory=TEN_EPOCHS, parts=10)
    for index in (1, 2, 3):
        bench.report(evaluation(index, 0.5, 2.5 * index))
    judged = bench.pruner.judged[-1]
    assert list(judged.moments) == [2, 5, 7]
    assert judged.spacing == 0.25


def test_a_training_that_is_taken_over_is_compared_at_the_same_moments() -> None:
    earlier = [dataclasses.replace(dense(index), value=1.0 / index) for index in range(1, 16)]
    bench = Bench(earlier, TEN_EPOCHS, 10)
    assert bench.report.rewind(1.3, 130) == 13
    for index in range(13, 21):
        bench.report(dense(index))
    assert [row["moment"] for row in bench.stored.rows] == [None] * 7 + [2]
    assert list(bench.pruner.judged[-1].values) == [1 / 10, 1 / 20]


def test_what_an_earlier_attempt_reported_at_later_steps_is_replaced() -> None:
    earlier = [dataclasses.replace(dense(index), value=0.5) for index in range(1, 6)]
    bench = Bench(earlier, TEN_EPOCHS, 10)
    assert bench.report.rewind(0.6, 30) == 3


def test_a_loop_that_goes_on_beyond_its_end_is_not_pruned_there_but_can_be_stopped() -> None:
    bench = Bench(trajectory=TEN_EPOCHS, parts=10)
    bench.report(evaluation(1, 0.5, 10.0))  # the end as configured: a whole training
    bench.pruner.prunes = True
    bench.report(evaluation(2, 0.5, 11.0))
    bench.stopping = True
    with pytest.raises(Stopped):
        bench.report(evaluation(3, 0.5, 12.0))


def test_rates_that_are_not_verified_are_not_stored_for_the_forecast() -> None:
    bench = Bench(trajectory=TEN_EPOCHS, parts=10)
    bench.report(dense(10))
    bench.report(dense(20, verified=False))
    assert [row["rate_left"] for row in bench.stored.rows] == [0.05, None]
    assert [trial.rates is None for trial in bench.pruner.judged] == [False, True]


# Metrics of a training without a loss


def with_values(**values: float) -> Evaluation:
    return dataclasses.replace(evaluation(1), values=values)


def test_a_metric_alone_is_enough() -> None:
    bench = Bench(name="accuracy", mode="max")
    bench.report(with_values(accuracy=0.75))
    (row,) = bench.stored.rows
    assert (row["value"], row["val_loss"], row["train_loss"]) == (0.75, None, None)


def test_a_metric_alone_that_is_not_a_number_is_called_by_its_name() -> None:
    with pytest.raises(UserError, match=r"the metric auc is nan at step 10: mend it") as raised:
        Bench(name="auc", mode="max").report(with_values(auc=math.nan))
    assert "loss" not in str(raised.value)
    assert "diverged" not in str(raised.value)


def test_a_loss_of_another_name_diverges_by_that_name() -> None:
    with pytest.raises(Diverged, match="eval_loss nan"):
        Bench(name="eval_loss").report(with_values(eval_loss=math.nan))


def test_what_was_reported_instead_of_the_metric_is_named() -> None:
    with pytest.raises(UserError, match="'accuracy' was not reported; reported: auc"):
        Bench(name="accuracy", mode="max").report(with_values(auc=0.5))
    with pytest.raises(UserError, match="'accuracy' was not reported; reported: no value"):
        Bench(name="accuracy", mode="max").report(with_values())
