"""Simulated workers: all that a worker does with the database, and no training.

Each is a thread with its own lease and stall watch, as a worker's process has them. Its trainings
wait for a second between two evaluations. The workers of a process share an engine with a
connection for each: what SQLAlchemy compiles at the start of a worker, on a processor of the
worker's own, would otherwise be most of what is measured.
"""

from __future__ import annotations

import contextlib
import logging
import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

from lrsearch.checkpoints.store import Checkpoints, Store
from lrsearch.config.load import stored_settings
from lrsearch.evaluation import Evaluation
from lrsearch.objectives.base import Report
from lrsearch.queue.queue import Queue
from lrsearch.queue.trial_claims import TrialClaim, TrialClaims
from lrsearch.recipe import Recipe
from lrsearch.storage import optuna_bridge
from lrsearch.storage.database import Database
from lrsearch.storage.engine import engine_options
from lrsearch.storage.optuna_bridge import Studies, open_database
from lrsearch.storage.outages import Contact
from lrsearch.study.follow_up import follow_up
from lrsearch.study.index import StudyIndex
from lrsearch.study.study import load_row
from lrsearch.tuning.pruners import build_pruner
from lrsearch.tuning.trajectory import LrTrajectory
from lrsearch.workers.attempt import Attempts
from lrsearch.workers.stop import Stop
from lrsearch.workers.worker import Worker

STEPS = 100
"""Optimizer steps between two evaluations."""


@dataclass(frozen=True)
class Fleet:
    """What the workers of all processes are told."""

    url: str
    study: str
    evaluations: int
    """Of a whole trial."""
    every: float
    """Seconds between two evaluations."""
    folder: str
    start: float
    """When the first worker starts, by `time.monotonic`."""
    ramp: float
    """Seconds within which all workers start."""
    begin: float
    """When the measurement begins."""
    end: float
    """When it ends: then running trials are handed back."""


@dataclass
class Record:
    """What the workers of a process have done and seen."""

    times: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """Seconds of each operation within the measurement, by its name."""
    reported: dict[tuple[int, int], float] = field(default_factory=dict)
    """All reported values, by trial and evaluation."""
    ended: int = 0
    """Trials that ended within the measurement."""
    problems: list[str] = field(default_factory=list)
    """Warnings and errors of the log, and what has ended a worker."""
    cpu: float = 0.0
    """Seconds of processor within the measurement."""


class Clock:
    """Times operations within the measurement."""

    def __init__(self, fleet: Fleet, record: Record) -> None:
        self._fleet, self._record = fleet, record

    @contextlib.contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        started = time.monotonic()
        try:
            yield
        finally:
            if self._fleet.begin <= started < self._fleet.end:
                self._record.times[name].append(time.monotonic() - started)


class TimedClaims(TrialClaims):
    """Claims whose transactions are timed."""

    clock: Clock

    def claim(self, take_over: bool) -> TrialClaim | None:
        with self.clock("claim"):
            return super().claim(take_over)

    def started(self, *arguments: Any) -> None:
        with self.clock("start"):
            super().started(*arguments)

    def renew(self, claim: TrialClaim) -> Any:
        with self.clock("renew"):
            return super().renew(claim)

    def record(self, *arguments: Any) -> Any:
        with self.clock("write"):
            return super().record(*arguments)

    def finish(self, *arguments: Any) -> None:
        with self.clock("end"):
            super().finish(*arguments)


class TimedQueue(Queue):
    """A queue whose clock is timed."""

    clock: Clock

    def stop_at_limit(self, timeout: float | None) -> bool:
        with self.clock("tick"):
            return super().stop_at_limit(timeout)


class Training:
    """A training that only reports."""

    device_name = "simulated"

    def __init__(self, fleet: Fleet, record: Record, clock: Clock, stop: Stop) -> None:
        self._fleet, self._record, self._clock, self._stop = fleet, record, clock, stop

    def parts(self) -> int:
        return self._fleet.evaluations

    def trajectory(self, recipe: Recipe) -> LrTrajectory:
        count = self._fleet.evaluations
        left = [recipe.lr * (1 - (k + 1) / count) for k in range(count)]
        return LrTrajectory(count, recipe.optimizer.name, recipe.lr, recipe.batch_size, 0.0,
                            [recipe.lr] * count, left)  # fmt: skip

    def run(
        self,
        recipe: Recipe,
        seed: int,
        report: Report,
        should_stop: Callable[[], bool],
        checkpoints: Checkpoints,
    ) -> None:
        report.restore(())
        claim: TrialClaim = report.claim  # type: ignore[attr-defined]
        curve = random.Random(seed)
        final = 0.05 + 0.5 * curve.random()
        due = time.monotonic()
        for index in range(1, self._fleet.evaluations + 1):
            due = max(due + self._fleet.every, time.monotonic())
            self._stop.wait(due - time.monotonic())
            value = final + 2.0 * curve.random() / index
            self._record.reported[claim.trial_id, index] = value
            rates = (recipe.lr,)
            evaluation = Evaluation(
                index, float(index), index * STEPS, {"train_loss": value, "val_loss": value},
                rates, rates, 1.0, None, self._fleet.every,
            )  # fmt: skip
            with self._clock("report"):
                report(evaluation)


def run_workers(fleet: Fleet, numbers: Sequence[int], answer: Connection) -> None:
    """Run the workers of these numbers in this process until the end; send their Record."""
    record, stopping = Record(), threading.Event()
    handler = _Problems(record)
    logging.getLogger().handlers[:] = [handler]
    clock = Clock(fleet, record)

    def is_set() -> bool:
        return stopping.is_set()

    def wait(seconds: float) -> bool:
        return stopping.wait(max(0.0, seconds))

    stop = Stop(is_set, wait, owns_process=False)
    optuna_bridge.engine_options = partial(  # type: ignore[attr-defined]
        engine_options, connections=len(numbers)
    )
    studies, database = open_database(fleet.url)

    def work(number: int) -> None:
        delay = random.Random(number).random() * fleet.ramp
        if stop.wait(fleet.start + delay - time.monotonic()):
            return
        try:
            _serve(fleet, studies, database, record, clock, stop)
        except BaseException as error:  # noqa: BLE001 - all that ends a worker is a problem
            record.problems.append(f"a worker has ended: {error!r}")

    threads = [threading.Thread(target=work, args=(number,)) for number in numbers]
    for thread in threads:
        thread.start()
    time.sleep(max(0.0, fleet.begin - time.monotonic()))
    used = time.process_time()
    time.sleep(max(0.0, fleet.end - time.monotonic()))
    record.cpu = time.process_time() - used
    stopping.set()
    for thread in threads:
        thread.join()
    studies.close()
    record.times = dict(record.times)
    answer.send(record)


def _serve(
    fleet: Fleet, studies: Studies, database: Database, record: Record, clock: Clock, stop: Stop
) -> None:
    """Claim and run trials until the end, as `Service` does for one study."""
    row = load_row(database, fleet.study)
    settings = stored_settings(row.config)
    queue = TimedQueue(database.session, row.study_id)
    queue.clock = clock
    training = Training(fleet, record, clock, stop)
    contact = Contact()
    attempts = Attempts(
        settings, training, queue, Store(fleet.folder), contact, stop, contextlib.nullcontext
    )
    claims = TimedClaims(
        database.session, row.study_id, f"simulated/{threading.get_ident()}/1", follow_up,
        settings.queue,
    )  # fmt: skip
    claims.clock = clock
    pruner = build_pruner(settings.pruner, training.parts(), settings.metric.mode)
    worker = Worker(attempts, pruner, claims, studies)
    index = StudyIndex(database.session)
    while not stop.is_set():
        with clock("look"):
            index.waiting([fleet.study])
        contact.reached(settings.queue.lease)
        claim = claims.claim(contact.lasted(settings.queue.lease))
        if claim is None:
            record.problems.append("no trial is left: give more by --open")
            break
        worker.run(claim)
        if fleet.begin <= time.monotonic() < fleet.end:
            record.ended += 1


class _Problems(logging.Handler):
    """Keeps the warnings and errors of the log."""

    def __init__(self, record: Record) -> None:
        super().__init__(logging.WARNING)
        self._record = record

    def emit(self, record: logging.LogRecord) -> None:
        self._record.problems.append(record.getMessage())
