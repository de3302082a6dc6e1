"""A worker on the side runs of one study: brings each to its end, by its kind."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lrsearch.checkpoints.store import Checkpoints
from lrsearch.config.settings import MetricSettings
from lrsearch.errors import UserError
from lrsearch.evaluation import Evaluation
from lrsearch.queue.auxiliary_claims import AuxiliaryClaim, AuxiliaryClaims
from lrsearch.queue.endings import Ending
from lrsearch.range_test.stored import keep_ranges
from lrsearch.recipe import Recipe
from lrsearch.states import Outcome, RunKind
from lrsearch.storage.evaluations import to_point
from lrsearch.storage.outages import refusals_in_words
from lrsearch.training.loop import Stopped
from lrsearch.workers.attempt import Attempts, WhileOwned, bring_to_end
from lrsearch.workers.lease import Lease
from lrsearch.workers.reporter import measured, value_of
from lrsearch.workers.work_log import WorkLog

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from lrsearch.range_test.result import RangeTest

Result = Mapping[str, Any]
Kind = Callable[[AuxiliaryClaim, Lease, Checkpoints], tuple[Ending, Result]]


class SideWorker:
    """Works on the side runs of one study."""

    def __init__(self, attempts: Attempts, claims: AuxiliaryClaims) -> None:
        self.attempts, self.claims = attempts, claims
        self._kinds: dict[str, Kind] = {
            RunKind.CONFIRM: self._confirm,
            RunKind.TEST: self._test,
            RunKind.RANGE_TEST: self._range_test,
        }

    def run(self, claim: AuxiliaryClaim) -> None:
        """Brings one to its end, hands it back when told to, or leaves it if it was lost."""
        started = time.perf_counter()
        log = WorkLog(self.attempts.settings.study.name, _name(claim), self._metric(claim.kind))
        lease = self.attempts.lease(
            lambda: self.claims.renew(claim), lambda cause: self.claims.died(claim, cause)
        )
        store, folder = self.attempts.store, self.attempts.folder
        checkpoints = store.side_run(folder, claim.kind, claim.number)

        def work() -> None:
            device = self.attempts.objective.device_name
            self.attempts.until_stopped(lambda: self.claims.started(claim, device))
            log.begins("begins", claim.attempt)
            guarded = WhileOwned(checkpoints, lease)
            outcome, result = self._kinds[claim.kind](claim, lease, guarded)
            seconds = time.perf_counter() - started
            log.ends(self._finish(claim, outcome, result, seconds), seconds)

        bring_to_end(
            log,
            lease,
            checkpoints,
            work,
            give_back=lambda: self.claims.give_back(claim),
            is_over=lambda: self.claims.is_over(claim),
        )

    def _metric(self, kind: str) -> str:
        """What the value of a run of this kind is."""
        metric = self.attempts.settings.metric.name
        return _on_test(metric) if kind == RunKind.TEST else metric

    def _finish(
        self, claim: AuxiliaryClaim, outcome: Ending, result: Result, seconds: float
    ) -> Ending:
        """Writes how the run ended and its result; how it ended by what was written."""

        def keep(session: Session) -> None:
            keep_ranges(session, self.claims.study_id, result)

        def write(ended: Ending) -> None:
            if self.claims.is_finished(claim):
                return  # and the answer was lost
            if ended is not outcome:  # the result was refused
                self.claims.finish(claim, ended, claim.result, seconds)
            elif claim.kind == RunKind.RANGE_TEST and ended.outcome == Outcome.COMPLETE:
                # Kept in the study's own row, where every reader of its space looks.
                self.claims.finish(claim, ended, {}, seconds, also=keep)
            else:
                self.claims.finish(claim, ended, result, seconds)

        return self.attempts.finish(outcome, write)

    def _confirm(
        self, claim: AuxiliaryClaim, lease: Lease, checkpoints: Checkpoints
    ) -> tuple[Ending, Result]:
        """A trial's recipe again, on another seed; its weights are kept for the test."""
        attempts, should_stop = self.attempts, self.attempts.should_stop(lease)
        report = SideReport(attempts.settings.metric, self.claims, claim, lease, should_stop)

        def train() -> None:
            recipe = Recipe.from_dict(claim.recipe or {})
            report.evaluations = attempts.objective.trajectory(recipe).evaluations
            run = attempts.objective.run
            weights = run(recipe, claim.seed, report, should_stop, checkpoints)
            if weights is not None and lease.is_sure():
                attempts.store.keep_confirmed(attempts.folder, claim.number, weights)

        outcome, _ = attempts.run_attempt(train, report)
        return outcome, report.result()

    def _range_test(
        self, claim: AuxiliaryClaim, lease: Lease, checkpoints: Checkpoints
    ) -> tuple[Ending, Result]:
        """The ranges of learning rates, before the first trial. It is soon run again from start."""
        from lrsearch.range_test.run import find_ranges

        attempts, should_stop = self.attempts, self.attempts.should_stop(lease)

        unclear: list[UserError] = []

        def find() -> RangeTest:
            try:
                return find_ranges(attempts.settings, attempts.objective, should_stop)
            except UserError as error:
                unclear.append(error)
                raise

        outcome, test = attempts.run_attempt(find, _NoValues())
        if unclear:  # no traceback is needed
            outcome = Ending(Outcome.FAILED, reason=str(unclear[0]))
        return outcome, {} if test is None else test.to_json()

    def _test(
        self, claim: AuxiliaryClaim, lease: Lease, checkpoints: Checkpoints
    ) -> tuple[Ending, Result]:
        """The weights of the confirmed winner's runs on the test part."""
        attempts, scored = self.attempts, _Scores(self._metric(RunKind.TEST))
        runs: Sequence[int] = claim.result["runs"]
        progress = lease.stall.progress

        def test() -> None:
            recipe = Recipe.from_dict(claim.recipe or {})
            for run in runs:
                weights = attempts.store.confirmed(attempts.folder, run)
                found = weights and attempts.objective.test(recipe, weights, progress)
                if found:
                    scored.found.append(dict(found))
            if not scored.found:
                raise UserError("the weights of the confirmed runs are not in storage.checkpoints")

        outcome, _ = attempts.run_attempt(test, scored)
        if outcome.outcome == Outcome.COMPLETE:
            attempts.store.drop_confirmed(attempts.folder, keep=runs)
        return outcome, {**claim.result, "scores": scored.found}


def _name(claim: AuxiliaryClaim) -> str:
    """What the worker's log calls it."""
    if claim.kind == RunKind.CONFIRM:
        return f"trial {claim.trial_number} on fresh seed {claim.seed}"
    return "test of the winner" if claim.kind == RunKind.TEST else "range test"


def _on_test(metric: str) -> str:
    """What a metric is called on the test part: `test_loss` for `val_loss`."""
    return f"test_{metric.partition('_')[2]}"


class _NoValues:
    """A range test has no value of the metric."""

    last = None

    def value(self) -> None:
        """None."""


class SideReport:
    """What the objective reports to: the curve is kept in the side run itself."""

    def __init__(
        self,
        metric: MetricSettings,
        claims: AuxiliaryClaims,
        claim: AuxiliaryClaim,
        lease: Lease,
        should_stop: Callable[[], bool],
    ) -> None:
        self.metric = metric
        self.claims, self.claim = claims, claim
        self.lease, self.should_stop = lease, should_stop
        self.evaluations: int | None = None
        """How many a whole training has."""
        self.points: list[dict[str, Any]] = []

    def __call__(self, evaluation: Evaluation) -> None:
        """Raises Stopped, LeaseLost, Diverged, or UserError without the metric."""
        self.lease.stall.reported()
        self.points.append(self._point(evaluation))
        # During an outage the thread beside knocks; the next report writes all again.
        if not self.lease.cut_off:
            with refusals_in_words():
                self.lease.reach(lambda: self.claims.record(self.claim, self.result()))
        is_last = self.evaluations is not None and len(self.points) >= self.evaluations
        if not is_last and self.should_stop():
            raise Stopped("stopped after an evaluation")

    def progress(self) -> None:
        """Tells the watch that the training goes on."""
        self.lease.stall.progress()

    def restore(self, history: Sequence[Evaluation]) -> None:
        """Makes the evaluations of a checkpoint, and no others, the run's own so far."""
        self.points = [self._point(evaluation) for evaluation in history]

    def rewind(self, epoch: float) -> int:
        """Keeps what earlier attempts reported before `epoch`; the index of what comes next."""
        if not self.points:
            earlier = self.claim.result.get("curve", [])
            self.points = [point for point in earlier if point["epoch"] < epoch]
        return len(self.points) + 1

    def result(self) -> Result:
        """All that is known so far."""
        return {"curve": self.points}

    @property
    def last(self) -> float | None:
        """The last value."""
        return self.points[-1]["value"] if self.points else None

    def value(self) -> float | None:
        """The run's value: that of its best or last evaluation, as a trial's."""
        return value_of([point["value"] for point in self.points], self.metric)

    def _point(self, evaluation: Evaluation) -> dict[str, Any]:
        return to_point(replace(evaluation, value=measured(evaluation, self.metric)))


class _Scores:
    """The scores of the winner's runs; their value is the mean of the metric's counterpart."""

    def __init__(self, name: str) -> None:
        self.found: list[dict[str, float]] = []
        self._name = name

    @property
    def last(self) -> float | None:
        """None: half a test says nothing."""
        return None

    def value(self) -> float | None:
        """The mean over the runs."""
        known = [scores[self._name] for scores in self.found if self._name in scores]
        return sum(known) / len(known) if known else None
