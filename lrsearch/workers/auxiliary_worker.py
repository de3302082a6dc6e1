"""Run the auxiliary runs that a worker has claimed of one study, each by its kind."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from lrsearch.checkpoints.store import Checkpoints, Store
from lrsearch.confirm.training import ConfirmRun, WinnerTestRun
from lrsearch.evaluation import Evaluation
from lrsearch.objectives.base import Objective
from lrsearch.queue.auxiliary_claims import AuxiliaryClaim, AuxiliaryClaims
from lrsearch.queue.auxiliary_runs import AuxiliaryKind, Result, RunResult, Values
from lrsearch.queue.endings import Ending
from lrsearch.range_test.run import RangeTestRun
from lrsearch.settings import Settings
from lrsearch.states import RunKind
from lrsearch.workers.attempt import Attempts, FencedCheckpoints, bring_to_end
from lrsearch.workers.lease import Lease
from lrsearch.workers.reporter import measured, value_of
from lrsearch.workers.work_log import WorkLog

T = TypeVar("T")

KINDS: Mapping[str, AuxiliaryKind] = {
    RunKind.CONFIRM: ConfirmRun(),
    RunKind.TEST: WinnerTestRun(),
    RunKind.RANGE_TEST: RangeTestRun(),
}


class AuxiliaryWorker:
    """Runs claimed auxiliary runs of one study."""

    def __init__(self, attempts: Attempts, claims: AuxiliaryClaims) -> None:
        self.attempts, self.claims = attempts, claims

    def run(self, claim: AuxiliaryClaim) -> None:
        """Run one to its end, or hand it back when the worker or the study is stopped.

        A run whose lease was lost is left to the worker that has it now.
        """
        started = time.perf_counter()
        study, kind = self.attempts.settings.study.name, KINDS[claim.kind]
        metric = kind.metric_name(self.attempts.settings.metric.name)
        log = WorkLog(study, kind.describe(claim), metric)
        lease = self.attempts.lease(
            lambda: self.claims.renew(claim), lambda cause: self.claims.died(claim, cause)
        )
        store, folder = self.attempts.store, self.attempts.folder
        checkpoints = store.auxiliary_run(folder, claim.kind, claim.number)

        def work() -> None:
            device = self.attempts.objective.device_name
            self.attempts.until_stopped(lambda: self.claims.started(claim, device))
            log.begins("begins", claim.attempt)
            fenced = FencedCheckpoints(checkpoints, lease)
            done = kind.run(WorkerContext(claim, self.attempts, self.claims, lease, fenced))
            seconds = time.perf_counter() - started
            log.ends(self._finish(claim, done, seconds), seconds)

        bring_to_end(
            log,
            lease,
            checkpoints,
            work,
            give_back=lambda: self.claims.give_back(claim),
            is_over=lambda: self.claims.is_over(claim),
        )

    def _finish(self, claim: AuxiliaryClaim, done: RunResult, seconds: float) -> Ending:
        """Write how the run ended and its result; return the ending that was written."""

        def write(ending: Ending) -> None:
            if self.claims.is_finished(claim):
                return  # an earlier try was committed, but its answer was lost
            if ending is not done.ending:  # the result was refused
                self.claims.finish(claim, ending, claim.result, seconds)
            else:
                self.claims.finish(claim, ending, done.result, seconds, done.also)

        return self.attempts.finish(done.ending, write)


@dataclass(frozen=True)
class WorkerContext:
    """One attempt at an auxiliary run: implements the `RunContext` of `AuxiliaryKind.run`."""

    claim: AuxiliaryClaim
    attempts: Attempts
    claims: AuxiliaryClaims
    lease: Lease
    checkpoints: Checkpoints

    @property
    def settings(self) -> Settings:
        """Settings of the study."""
        return self.attempts.settings

    @property
    def objective(self) -> Objective:
        """The objective, which trains a recipe."""
        return self.attempts.objective

    @property
    def store(self) -> Store:
        """The store of weights."""
        return self.attempts.store

    @property
    def study_id(self) -> int:
        """Id of the study in the database."""
        return self.claims.study_id

    @property
    def folder(self) -> str:
        """Folder of the study in the store."""
        return self.attempts.folder

    def owns(self) -> bool:
        """Return whether no other worker can have the run: its lease is valid."""
        return self.lease.is_sure()

    def should_stop(self) -> bool:
        """Return whether to leave the training; called after each step."""
        return self.attempts.should_stop(self.lease)()

    def progress(self) -> None:
        """Record that the training goes on."""
        self.lease.stall.progress()

    def report(self, result: Callable[[], Result]) -> None:
        """Store the result so far, unless the database does not answer."""
        self.lease.report(lambda: self.claims.record(self.claim, result()))

    def measured(self, evaluation: Evaluation) -> float | None:
        """Return the metric's value; None where it counts as the worst."""
        return measured(evaluation, self.settings.metric)

    def value_of(self, values: Sequence[float | None]) -> float | None:
        """Return the value of a run from its values at each evaluation."""
        return value_of(values, self.settings.reported_metric)

    def attempt(self, train: Callable[[], T], values: Values) -> tuple[Ending, T | None]:
        """Train, and return how that ended and its result."""
        return self.attempts.run_attempt(train, values, self.lease)
