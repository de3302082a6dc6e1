"""A sweep under the supervisor: how many workers it starts, when it stops or leaves them."""

from __future__ import annotations

import dataclasses
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, NoReturn, Self

import psycopg
import pytest
from shop import TERMS, Shop
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from lrsearch.errors import UserError
from lrsearch.launchers import LAUNCHERS
from lrsearch.launchers.attached import AttachedJobs
from lrsearch.launchers.base import Job, JobState, News, Sweep, WorkersFailed
from lrsearch.launchers.supervisor import Supervisor
from lrsearch.queue.endings import Ending, Endings
from lrsearch.queue.jobs import Jobs, begun, jobs_of
from lrsearch.queue.trial_claims import TrialClaim, TrialClaims
from lrsearch.registry import Component
from lrsearch.settings import RuntimeSettings, Settings
from lrsearch.states import Outcome, WorkState
from lrsearch.storage.tables import StudyRow, TrialSlotRow
from lrsearch.study.follow_up import follow_up
from lrsearch.study.index import StudyIndex
from lrsearch.study.progress import Finished, Progress, Snapshot
from lrsearch.workers.locations import Locations
from lrsearch.workers.patience import DatabaseSilent


class Trials(Shop[TrialClaims]):
    """A study of six trials."""

    kind, table = TrialClaims, TrialSlotRow

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.queue.add([({}, number) for number in range(6)])


class Recorded:
    """A display that keeps what it was given."""

    interval = 0.0

    def __init__(self) -> None:
        self.snapshots: list[Snapshot] = []
        self.said: list[str] = []

    def update(self, snapshot: Snapshot, new: list[Finished]) -> None:
        self.snapshots.append(snapshot)

    def say(self, line: str) -> None:
        self.said.append(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None: ...


class Pretended:
    """A cluster in which a job waits for one look, and finishes one trial at each that follows."""

    name: ClassVar[str] = "pretended"
    outlives: ClassVar[bool] = True

    def __init__(self, shop: Trials | None = None, machines: int = 2) -> None:
        self.shop, self.machines = shop, machines
        self.started: list[int] = []
        self.stopped: list[tuple[int, bool]] = []
        self.closed = 0
        self.at_look: dict[int, Callable[[], None]] = {}
        self.trains = True
        self.begins_at = 0
        """Number of the look at which jobs that wait get machines."""
        self._looks = 0
        self._claims: dict[str, TrialClaim | None] = {}
        self._waiting: list[str] = []
        self._number = 0

    def check(self, settings: Settings, runtime: RuntimeSettings) -> None: ...

    def attach(self, sweep: Sweep) -> None:
        self.sweep = sweep

    def describe(self) -> str:
        return "a pretended cluster"

    def most(self) -> int:
        return self.machines

    def start(self, count: int) -> None:
        self.started.append(count)
        for _ in range(count):
            self._number += 1
            self._waiting.append(str(self._number))

    def watch(self, news: News) -> None:
        self._looks += 1
        self.at_look.pop(self._looks, lambda: None)()
        if self.shop is None or news.is_stopping:
            return
        for job, claim in list(self._claims.items()):
            worker = self.shop.worker(job)
            if claim is None:
                del self._claims[job]
            elif self.trains:
                worker.finish(claim, Ending(Outcome.COMPLETE, 0.5), 1.0)
                self._claims[job] = worker.claim(take_over=False)
        if self._looks < self.begins_at:
            return
        for job in self._waiting:
            self._claims[job] = self.shop.worker(job).claim(take_over=False)
        self._waiting = []

    def alive(self) -> Sequence[Job]:
        running = [Job(job, JobState.RUNNING, owner=f"{job}/1") for job in self._claims]
        return [*running, *(Job(job, JobState.WAITING) for job in self._waiting)]

    def stop(self, jobs: Sequence[Job], at_once: bool = False) -> None:
        if jobs:
            self.stopped.append((len(jobs), at_once))
        for job in jobs:
            claim = self._claims.pop(job.job_id, None)
            if claim is not None and self.shop is not None:
                self.shop.worker(job.job_id).give_back(claim)
            if job.job_id in self._waiting:
                self._waiting.remove(job.job_id)

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Trials]:
    shop = Trials(f"sqlite:///{tmp_path / 'shop.db'}")
    yield shop
    shop.close()


def sweep_of(shop: Trials) -> Sweep:
    return Sweep(
        "one",
        shop.study_id,
        Locations(shop.url),
        Path("logs"),
        shop.database.session,
        shop.queue,
        Endings(shop.study_id, TERMS.max_attempts, follow_up),
    )


def supervised(
    shop: Trials, cluster: Pretended, patience: float = 60.0
) -> tuple[Supervisor, Recorded]:
    display, sweep = Recorded(), dataclasses.replace(sweep_of(shop), patience=patience)
    cluster.attach(sweep)
    progress = Progress(shop.database.session, shop.study_id)
    return Supervisor(sweep, cluster, progress, display), display


def test_no_more_workers_are_started_than_there_are_machines_or_open_trials(shop: Trials) -> None:
    cluster = Pretended(shop, machines=4)
    supervisor, display = supervised(shop, cluster)
    supervisor.run(None)
    assert cluster.started[0] == 4
    assert max(snapshot.waiting_jobs for snapshot in display.snapshots) == 4
    assert sum(cluster.started) <= 6
    assert shop.queue.counts() == {WorkState.OPEN: 0, WorkState.RUNNING: 0, WorkState.DONE: 6}
    assert cluster.stopped == []
    assert cluster.closed == 1


def test_few_open_trials_need_few_workers(shop: Trials) -> None:
    cluster = Pretended(shop, machines=100)
    supervisor, _ = supervised(shop, cluster)
    supervisor.run(None)
    assert cluster.started == [6]


def limited(shop: Trials, max_running: int) -> None:
    with shop.database.session.begin() as session:
        session.get_one(StudyRow, shop.study_id).max_running = max_running


def test_no_more_workers_are_started_than_may_run_at_a_time(shop: Trials) -> None:
    limited(shop, 2)
    cluster = Pretended(shop, machines=4)
    supervisor, _ = supervised(shop, cluster)
    supervisor.run(None)
    assert cluster.started[0] == 2
    assert max(cluster.started) <= 2
    assert shop.queue.counts()[WorkState.DONE] == 6


def test_workers_elsewhere_leave_the_less_room_the_more_of_them_run(shop: Trials) -> None:
    limited(shop, 2)
    elsewhere, claim = shop.claim("elsewhere")
    cluster = Pretended(shop, machines=4)
    cluster.trains = False
    cluster.at_look = {
        4: lambda: os.kill(os.getpid(), signal.SIGINT),
        5: lambda: elsewhere.give_back(claim),
    }
    supervisor, _ = supervised(shop, cluster)
    supervisor.run(None)
    assert cluster.started == [1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_hands_all_work_back(shop: Trials, number: signal.Signals) -> None:
    cluster = Pretended(shop)
    cluster.trains = False
    cluster.at_look = {3: lambda: os.kill(os.getpid(), number)}
    supervisor, display = supervised(shop, cluster)
    supervisor.run(None)
    assert supervisor.interrupts == 1
    assert cluster.stopped == [(2, False)]
    assert "handed back" in display.said[0]
    assert shop.queue.counts()[WorkState.OPEN] == 6


def test_a_closed_terminal_leaves_workers_that_outlive_it(shop: Trials) -> None:
    cluster = Pretended(shop)
    cluster.trains = False
    cluster.at_look = {3: lambda: os.kill(os.getpid(), signal.SIGHUP)}
    supervisor, _ = supervised(shop, cluster)
    supervisor.run(None)
    assert supervisor.is_left
    assert cluster.stopped == []
    assert cluster.closed == 1
    assert shop.queue.counts()[WorkState.RUNNING] == 2


def test_a_command_that_ignores_the_end_of_its_terminal_goes_on(shop: Trials) -> None:
    cluster = Pretended(shop)
    cluster.at_look = {3: lambda: os.kill(os.getpid(), signal.SIGHUP)}
    supervisor, _ = supervised(shop, cluster)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        supervisor.run(None)
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
    assert not supervisor.is_left
    assert shop.queue.counts()[WorkState.DONE] == 6


def test_a_study_that_is_stopped_with_its_work_handed_back_ends_the_jobs(shop: Trials) -> None:
    cluster = Pretended(shop)
    cluster.trains = False
    cluster.at_look = {3: lambda: shop.queue.stop("stopped by hand", hand_back=True)}
    supervisor, _ = supervised(shop, cluster)
    supervisor.run(None)
    assert cluster.stopped == [(2, False)]
    assert shop.queue.counts()[WorkState.OPEN] == 6


def test_jobs_that_wait_are_cancelled_when_the_study_is_stopped(shop: Trials) -> None:
    cluster = Pretended(shop)
    cluster.at_look = {1: lambda: cluster.start(1), 2: lambda: shop.queue.stop("by hand", False)}
    cluster.begins_at = 9
    supervisor, _ = supervised(shop, cluster)
    supervisor.run(None)
    assert cluster.stopped == [(2, False)]
    assert shop.queue.counts()[WorkState.OPEN] == 6


@pytest.fixture
def away(shop: Trials, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Ends every statement from now on, as where the server is away."""

    def statement(*_: Any) -> NoReturn:
        raise OperationalError("SELECT 1", {}, psycopg.OperationalError("Connection refused"))

    return lambda: event.listen(shop.database.engine, "before_cursor_execute", statement)


def test_the_second_interrupt_ends_the_workers_while_the_database_is_away(
    shop: Trials, away: Callable[[], None]
) -> None:
    cluster = Pretended(shop)
    cluster.begins_at = 9

    def interrupted() -> None:
        away()
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)

    cluster.at_look = {2: interrupted}
    supervisor, _ = supervised(shop, cluster)
    with pytest.raises(OperationalError):
        supervisor.run(None)
    assert cluster.stopped == [(2, True)]


@pytest.mark.parametrize("outlives", [True, False])
def test_a_database_that_is_away_for_too_long_ends_the_sweep(
    shop: Trials, away: Callable[[], None], outlives: bool
) -> None:
    cluster = Pretended(shop)
    cluster.outlives = outlives  # type: ignore[misc]
    cluster.begins_at = 9
    cluster.at_look = {2: away}
    supervisor, _ = supervised(shop, cluster, patience=0.0)
    with pytest.raises(DatabaseSilent, match=r"queue\.patience"):
        supervisor.run(None)
    assert cluster.stopped == ([] if outlives else [(2, True)])
    assert cluster.closed == 1


def test_a_study_that_is_deleted_ends_its_jobs_with_words(shop: Trials) -> None:
    cluster = Pretended(shop)
    cluster.begins_at = 9
    cluster.at_look = {2: lambda: StudyIndex(shop.database.session).delete(shop.study_id)}
    supervisor, _ = supervised(shop, cluster)
    with pytest.raises(UserError, match="deleted"):
        supervisor.run(None)
    assert cluster.stopped == [(2, True)]
    assert cluster.closed == 1


def test_where_workers_fail_the_others_are_ended(shop: Trials) -> None:
    cluster = Pretended(shop)
    cluster.trains = False

    def fail() -> None:
        raise WorkersFailed("they cannot work")

    cluster.at_look = {3: fail}
    supervisor, _ = supervised(shop, cluster)
    with pytest.raises(WorkersFailed):
        supervisor.run(None)
    assert cluster.stopped == [(2, True)]


# From another terminal


@pytest.fixture
def stored(shop: Trials, monkeypatch: pytest.MonkeyPatch) -> Trials:
    """The study with a job that runs and one that waits, which another process has started."""
    session = shop.database.session
    jobs = Jobs(session, shop.study_id, "pretended", {"machines": 3})
    jobs.add({"7_0": "logs/7_0.log", "7_1": None})
    begun(session, shop.study_id, "pretended/7_0", "boot/12/99", "n1")

    class Seen(Pretended):
        """Sees these jobs in its cluster."""

        seen: ClassVar[list[Any]] = []

        def attach(self, sweep: Sweep) -> None:
            super().attach(sweep)
            self.seen.append(self)
            rows = Jobs(sweep.session_of, sweep.study_id, self.name).rows()
            self._claims = {row.job_id: None for row in rows if row.owner}
            self._waiting = [row.job_id for row in rows if not row.owner]

    Seen.seen.clear()
    monkeypatch.setitem(LAUNCHERS.components, "pretended", Component("pretended", Seen))
    monkeypatch.setattr(Trials, "seen", Seen.seen, raising=False)
    return shop


def attached(shop: Trials) -> AttachedJobs:
    with shop.database.session() as session:
        rows = jobs_of(session, shop.study_id)
    return AttachedJobs(rows, lambda: sweep_of(shop))


def test_jobs_are_found_again_by_the_address_they_were_started_with(stored: Trials) -> None:
    jobs = attached(stored)
    assert [(name, job.job_id, job.state) for name, job in jobs.jobs()] == [
        ("pretended", "7_0", JobState.RUNNING),
        ("pretended", "7_1", JobState.WAITING),
    ]
    (launcher,) = stored.seen  # type: ignore[attr-defined]
    assert launcher.machines == 3


@pytest.mark.parametrize(("with_running", "ended"), [(True, 2), (False, 1)])
def test_jobs_that_run_are_ended_only_where_that_is_asked_for(
    stored: Trials, with_running: bool, ended: int
) -> None:
    assert attached(stored).stop(with_running) == ended
    (launcher,) = stored.seen  # type: ignore[attr-defined]
    assert launcher.stopped == [(ended, False)]


def test_jobs_of_a_cluster_that_cannot_be_asked_are_as_the_database_has_them(
    stored: Trials, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(**_: Any) -> Pretended:
        raise UserError("there is no squeue on this machine")

    component = Component("pretended", refuses)
    monkeypatch.setitem(LAUNCHERS.components, "pretended", component)
    jobs = attached(stored)
    assert jobs.unreachable == {"pretended": "there is no squeue on this machine"}
    (_, running), (_, waits) = jobs.jobs()
    assert (running.state, running.host, running.log) == (JobState.RUNNING, "n1", "logs/7_0.log")
    assert running.owner == "boot/12"
    assert waits.state == JobState.WAITING
    with pytest.raises(UserError, match="squeue"):
        jobs.stop(with_running=True)


def test_a_study_without_jobs_has_none(shop: Trials) -> None:
    assert attached(shop).jobs() == []
    assert attached(shop).stop(with_running=True) == 0
