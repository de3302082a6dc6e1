"""When a training counts as stalled, and what becomes of its process."""

from __future__ import annotations

import math
import threading
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from reports import Collected

from lrsearch.evaluation import Evaluation
from lrsearch.objectives.silence import FIRST, SHORTEST
from lrsearch.objectives.trial import Trial
from lrsearch.queue.leasing import Orders
from lrsearch.recipe import Recipe
from lrsearch.registry import ComponentConfig
from lrsearch.storage.outages import Contact
from lrsearch.workers.attempt import Attempts
from lrsearch.workers.exit_codes import ExitCode
from lrsearch.workers.lease import Lease
from lrsearch.workers.stall import StallWatch
from lrsearch.workers.stop import Stop

TIMEOUT = 30.0


class Watched:
    """A watch on a training, with a clock that is set by hand and no process to end."""

    def __init__(self, timeout: float | None, own_loop: bool = False) -> None:
        self.now = 0.0
        self.watch = StallWatch(
            timeout, own_loop, lambda cause: None, clock=lambda: self.now, interval=1.0
        )

    def passes(self, seconds: int) -> float | None:
        """So many seconds, one look each; the first answer that it is stalled."""
        for _ in range(seconds):
            self.now += 1.0
            if (found := self.watch.stalled_for()) is not None:
                return found
        return None


def test_without_progress_it_stalls_after_the_limit_that_was_set() -> None:
    watched = Watched(timeout=5.0)
    watched.watch.progress()
    assert watched.passes(5) is None
    watched.watch.progress()
    assert watched.passes(6) is None
    assert watched.passes(1) == pytest.approx(6.0)


def test_lrsearchs_own_training_has_an_hour_where_nothing_is_set() -> None:
    watched = Watched(timeout=None)
    assert watched.watch.limit() == SHORTEST == 3600.0


def test_before_its_first_step_lrsearchs_own_training_has_an_hour_at_least() -> None:
    watched = Watched(timeout=5.0)
    assert watched.passes(3600) is None  # it reads data, builds and compiles a model
    watched.watch.progress()
    assert watched.watch.limit() == 5.0


def test_a_training_of_the_users_has_a_day_before_its_first_report() -> None:
    watched = Watched(timeout=None, own_loop=True)
    assert watched.watch.limit() == FIRST == 86_400.0
    assert watched.passes(86_400) is None
    assert watched.passes(1) is not None


def test_the_time_to_its_first_report_counts_like_that_between_two() -> None:
    watched = Watched(timeout=None, own_loop=True)
    watched.now += 7200.0
    watched.watch.reported()
    assert watched.watch.limit() == 72_000.0


class Leased(Collected):
    """Reports like those of a worker, without its database."""

    def __init__(self, lease: Lease) -> None:
        super().__init__()
        self.lease = lease

    def __call__(self, evaluation: Evaluation) -> None:
        self.lease.report(lambda: Orders(hand_back=False))

    def progress(self) -> None:
        self.lease.stall.progress()


@pytest.mark.parametrize("sign", ["report", "should_stop", "heartbeat"])
def test_each_sign_of_life_of_the_users_training_counts(sign: str) -> None:
    watched = Watched(timeout=5.0, own_loop=True)
    lease = Lease(lambda: Orders(hand_back=False), Contact(), 1000.0, watched.watch)
    settings: Any = SimpleNamespace(
        queue=SimpleNamespace(stall_timeout=None),
        train=SimpleNamespace(compile=False),
        objective=object(),
    )
    stop = Stop(lambda: False, lambda seconds: False)
    unused: Any = None
    attempts = Attempts(settings, unused, unused, unused, Contact(), stop)
    recipe = Recipe(0.1, 32, ComponentConfig("sgd"), ComponentConfig("constant"))
    trial = Trial(
        recipe, Leased(lease), seed=0, device=torch.device("cpu"), epochs=1000, checkpoint_dir="",
        should_stop=attempts.should_stop(lease),
    )  # fmt: skip
    for epoch in range(1, 10):
        assert watched.passes(5) is None
        {
            "report": lambda epoch=epoch: trial.report(epoch, 0.5),
            "should_stop": trial.should_stop,
            "heartbeat": trial.heartbeat,
        }[sign]()
    assert watched.passes(7) == pytest.approx(6.0)


@pytest.mark.parametrize(("gap", "limit"), [(1, 3600.0), (360, 3600.0), (7200, 72_000.0)])
def test_then_it_has_an_hour_or_ten_times_its_longest_gap(gap: int, limit: float) -> None:
    watched = Watched(timeout=None, own_loop=True)
    for seconds in (gap, 1):
        watched.watch.reported()
        watched.now += seconds
    watched.watch.reported()
    assert watched.watch.limit() == limit


def test_a_limit_that_was_set_holds_for_the_users_training_from_its_start() -> None:
    assert Watched(timeout=5.0, own_loop=True).watch.limit() == 5.0


def test_waiting_for_the_database_is_no_stall() -> None:
    watched = Watched(timeout=5.0, own_loop=True)
    with watched.watch.waiting():
        assert watched.passes(100) is None
    assert watched.passes(5) is None


def test_what_has_no_steps_such_as_saving_may_take_an_hour() -> None:
    watched = Watched(timeout=5.0, own_loop=True)
    with watched.watch.lengthy():
        assert watched.passes(3600) is None
    assert watched.passes(5) is None


def test_a_process_that_was_stopped_is_not_stalled_when_it_goes_on() -> None:
    watched = Watched(timeout=5.0, own_loop=True)
    assert watched.passes(2) is None
    watched.now += 10_000.0
    assert watched.watch.stalled_for() is None
    assert watched.passes(1) is None


class Ended(threading.Event):
    """Stands for the end of the process; remembers its exit code."""

    code: int | None = None

    def __call__(self, code: int) -> None:
        self.code = code
        self.set()


@pytest.mark.parametrize("failure", [None, RuntimeError("the database is away")])
def test_a_stalled_training_is_recorded_with_the_way_out_and_ends_its_process(
    failure: Exception | None, caplog: pytest.LogCaptureFixture
) -> None:
    causes: list[str] = []
    heard: list[float] = []
    ended = Ended()

    def record(cause: str) -> None:
        causes.append(cause)
        if failure is not None:
            raise failure

    watch = StallWatch(
        0.01, True, record, heard.append, interval=0.005, end_process=ended
    )  # fmt: skip
    with watch.training():
        assert ended.wait(TIMEOUT)
    assert ended.code == ExitCode.STALLED
    assert len(causes) == 1
    assert "no progress" in causes[0]
    assert "queue.stall_timeout" in causes[0]
    assert causes[0] in caplog.text
    assert heard[0] == 0.01  # the parent knows from the start how long a silence may be
    assert heard[-1] == math.inf  # and that none is too long when the training is over


def test_nothing_is_watched_outside_the_training() -> None:
    ended = Ended()
    watch = StallWatch(1000.0, True, lambda cause: None, interval=0.005, end_process=ended)
    with watch.training():
        assert "stall watch" in [thread.name for thread in threading.enumerate()]
    assert "stall watch" not in [thread.name for thread in threading.enumerate()]
    assert not ended.is_set()
