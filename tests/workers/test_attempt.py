"""How one attempt at a trial or auxiliary run ends, and what the log says of it."""

from __future__ import annotations

import logging
import math
import sqlite3
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from local_worker import own_lines
from sqlalchemy.exc import OperationalError

from lrsearch.errors import TrialPruned, UserError
from lrsearch.queue.endings import Ending
from lrsearch.queue.leasing import LeaseLost, Orders
from lrsearch.storage.outages import Contact
from lrsearch.training.loop import Diverged, OutOfMemory, Stopped
from lrsearch.training.out_of_memory import OomKills
from lrsearch.workers.attempt import Attempts, bring_to_end
from lrsearch.workers.lease import Lease
from lrsearch.workers.stall import StallWatch
from lrsearch.workers.stop import Stop
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
    # Trials that other tests of this process have dropped may be handed back meanwhile.
    assert [line for line in own_lines(caplog) if line.startswith("digits")] == [said]
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


# What a training raises


class Bench:
    """Attempts of one worker, which can be told to stop in each way that there is."""

    last, remark = 0.5, None

    def __init__(self) -> None:
        self.lease = Lease(lambda: Orders(hand_back=False), Contact(), 1000.0, UNWATCHED)
        self.signalled = self.signal_comes_later = False
        settings = SimpleNamespace(
            queue=SimpleNamespace(stall_timeout=None),
            train=SimpleNamespace(compile=False),
            objective=object(),
        )
        stop = Stop(lambda: self.signalled, self.wait)
        unused: Any = None
        self.attempts = Attempts(cast(Any, settings), unused, unused, unused, Contact(), stop)

    def wait(self, seconds: float) -> bool:
        self.signalled = self.signalled or self.signal_comes_later
        return self.signalled

    def value(self) -> float | None:
        return 0.25

    def ending(self, error: BaseException | None) -> Ending:
        def train() -> None:
            if error is not None:
                raise error

        return self.attempts.run_attempt(train, self, self.lease)[0]


def preempted(bench: Bench) -> None:
    bench.signalled = True


def paused(bench: Bench) -> None:
    bench.lease.hand_back = True


def overtaken(bench: Bench) -> None:
    bench.lease.lost = True


class SIGTERMException(SystemExit):
    """As Lightning's."""


LEAVING = [
    SIGTERMException(),
    SystemExit(0),
    KeyboardInterrupt(),
    RuntimeError("DataLoader worker (pid 31) is killed by signal: Terminated. "),
    torch.OutOfMemoryError("CUDA out of memory"),
    ZeroDivisionError(),
    UserError("report: step 5 comes after step 5"),
]


@pytest.mark.parametrize("error", LEAVING, ids=repr)
@pytest.mark.parametrize("told", [preempted, paused, overtaken])
def test_whatever_leaves_a_training_that_is_told_to_stop_hands_it_back(
    error: BaseException, told: Callable[[Bench], None]
) -> None:
    bench = Bench()
    told(bench)
    with pytest.raises(Stopped):
        bench.ending(error)


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (None, "complete"),
        (TrialPruned(), "pruned"),
        (Diverged(3, 0.1, math.inf), "diverged"),
        (OutOfMemory(3, 0.1, 64), "out_of_memory"),
    ],
)
def test_what_lrsearch_has_decided_stands_though_the_worker_is_told_to_stop(
    error: BaseException | None, outcome: str
) -> None:
    bench = Bench()
    preempted(bench)
    assert bench.ending(error).outcome == outcome


@pytest.mark.parametrize("error", LEAVING[:3] + LEAVING[-2:], ids=repr)
def test_the_same_from_a_training_that_is_not_told_to_stop_fails_it(error: BaseException) -> None:
    ending = Bench().ending(error)
    assert ending.outcome == "failed"
    assert type(error).__name__ in str(ending.reason)


def test_a_signal_that_reached_a_process_of_the_training_first_is_waited_for() -> None:
    bench = Bench()
    assert bench.ending(LEAVING[3]).outcome == "failed"
    bench.signal_comes_later = True
    with pytest.raises(Stopped):
        bench.ending(LEAVING[3])


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nMore words"),
        MemoryError(),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    ],
)
def test_a_lack_of_memory_says_so_in_one_line(error: BaseException) -> None:
    ending = Bench().ending(error)
    assert (ending.outcome, ending.value) == ("out_of_memory", 0.5)
    first = str(error).partition("\n")[0]
    assert str(ending.reason).startswith("out of memory: ")
    assert str(ending.reason).endswith(first or "MemoryError")
    assert "\n" not in str(ending.reason)


@pytest.mark.parametrize(("kills", "outcome"), [(0, "failed"), (1, "out_of_memory")])
def test_a_loader_that_was_killed_ran_out_of_memory_if_the_kernel_killed_for_that(
    kills: int, outcome: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OomKills, "new", lambda self: kills)
    killed = RuntimeError("DataLoader worker (pid 31) is killed by signal: Killed. ")
    ending = Bench().ending(killed)
    assert ending.outcome == outcome
    assert "DataLoader worker (pid 31)" in str(ending.reason)
    assert Bench().ending(ZeroDivisionError()).outcome == "failed"
