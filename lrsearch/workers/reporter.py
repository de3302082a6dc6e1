"""Store a trial's reported evaluations, and end the trial when it is pruned."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace

from lrsearch.errors import LrsearchError, TrialPruned, UserError
from lrsearch.evaluation import Evaluation
from lrsearch.loggers import TrialLog
from lrsearch.measures import is_loss
from lrsearch.queue.leasing import LeaseLost, Orders
from lrsearch.queue.trial_claims import Row, TrialClaim, TrialClaims
from lrsearch.settings import MetricSettings
from lrsearch.storage.evaluations import to_columns
from lrsearch.storage.outages import Trouble, in_words, trouble
from lrsearch.text.formatting import number
from lrsearch.training.loop import Diverged, Stopped
from lrsearch.tuning.pruners.rules import Peers, Pruner, Running
from lrsearch.tuning.trajectory import LrTrajectory, moment_of
from lrsearch.workers.lease import Lease

_log = logging.getLogger(__name__)


class ValuesRefused(LrsearchError):
    """The database cannot store the values that a trial has reported."""


class NoFiniteValue(Exception):
    """The evaluations that decide a trial's value have no finite value of the metric."""


class Outbox:
    """Queue of evaluations to be written to the database, kept while it does not answer."""

    def __init__(self, claims: TrialClaims, claim: TrialClaim) -> None:
        self._claims, self._claim = claims, claim
        self._rows: list[Row] = []
        self._replace_from: int | None = None
        self._refusal: ValuesRefused | None = None
        self._lock = threading.Lock()

    def add(self, row: Row) -> None:
        """Add an evaluation."""
        with self._lock:
            self._rows.append(row)

    def replace(self, rows: Sequence[Row], first: int) -> None:
        """Replace what was written from evaluation `first` (from 1) on by these rows."""
        with self._lock:
            self._rows = [row for row in self._rows if row["evaluation"] < first] + list(rows)
            self._replace_from = min(first, self._replace_from or first)

    def flush(self) -> Orders:
        """Write the queued evaluations and renew the lease, in one transaction.

        Raises LeaseLost, database errors, and ValuesRefused where the database refuses the values:
        they are then dropped, so that the lease can still be renewed and the trial be ended.
        """
        with self._lock:
            if not self._rows and self._replace_from is None:
                return self._claims.renew(self._claim)
            rows, first = list(self._rows), self._replace_from
            try:
                orders = self._claims.record(self._claim, rows, first)
            except LeaseLost:
                raise
            except Exception as error:
                if trouble(error) in (None, Trouble.DATA):
                    self._rows, self._replace_from = [], None
                    message = f"the database refuses what was reported: {in_words(error)}"
                    self._refusal = ValuesRefused(message)
                    raise self._refusal from error
                # The rows may have been committed before the connection broke: replace them next
                # time.
                if rows:
                    self._replace_from = min(first or math.inf, rows[0]["evaluation"])
                raise
            self._rows, self._replace_from = [], None
            return orders

    def check(self) -> None:
        """Raise ValuesRefused if the database has refused values, in whichever thread."""
        if self._refusal is not None:
            raise self._refusal


class Reporter:
    """Takes the evaluations that the objective reports of one trial."""

    def __init__(
        self,
        metric: MetricSettings,
        claims: TrialClaims,
        claim: TrialClaim,
        lease: Lease,
        outbox: Outbox,
        pruner: Pruner,
        open_history: Callable[[], AbstractContextManager[Peers]],
        should_stop: Callable[[], bool],
    ) -> None:
        self.metric, self.pruner = metric, pruner
        self.open_history = open_history
        self.claims, self.claim = claims, claim
        self.lease, self.outbox = lease, outbox
        self.should_stop = should_stop
        self.trajectory: LrTrajectory
        """Length and learning rates of the whole trial, which is never pruned at its end."""
        self.parts: int
        """Number of equal parts of a training: trials are compared after each of them."""
        self.earlier: Sequence[Evaluation] = ()
        """Evaluations that earlier attempts reported."""
        self.bracket: int | None = None
        """The pruner's bracket of the trial, where it has brackets."""
        self.spared_at: int | None = None
        """The evaluation at which it would have been pruned, but goes on to check the pruner."""
        self.values: list[float | None] = []
        """The metric at each evaluation so far; None where it was not a number."""
        self.moments: list[int | None] = []
        """The moment of each evaluation so far; None where another one was in the same part."""
        self.progressed = 0.0
        """Share of the training that is done."""
        self.remark: str | None = None
        """Why the training has ended before its planned length; None where it has not."""
        self.is_repeated = False
        """Whether this worker trains it for the second time."""
        self._warnings: list[str] = []
        self.log: TrialLog | None = None
        """The logger's log, which gets each evaluation after it was stored; raises nothing."""

    def begin(
        self, trajectory: LrTrajectory, parts: int, earlier: Sequence[Evaluation] = ()
    ) -> None:
        """Set what depends on the recipe; called once, before the first evaluation."""
        self.trajectory, self.parts, self.earlier = trajectory, parts, earlier
        self.bracket = self.pruner.bracket(self.claim.number)

    def __call__(self, evaluation: Evaluation) -> None:
        """Store an evaluation, and decide whether the trial goes on.

        Raises TrialPruned, Stopped, LeaseLost, Diverged, ValuesRefused, DatabaseRefuses, and
        UserError where the metric is missing.
        """
        self.outbox.check()
        before = self.progressed
        self.outbox.add(self._row(evaluation))
        self.remark = evaluation.early_end
        # A loop of the user's own may go on beyond the end that was planned.
        is_last = before < 1 <= self.progressed or evaluation.early_end is not None
        is_pruned = False

        def write() -> Orders:
            nonlocal is_pruned
            orders = self.outbox.flush()
            # Not in the transaction above: on SQLite that one keeps all others from writing.
            is_pruned = not is_last and self._is_pruned(evaluation.verified)
            return orders

        self.lease.report(write)
        if self.log is not None:
            with self.lease.stall.lengthy():  # the log may wait for a server
                self.log.log(evaluation.step, evaluation.scalars())
        if is_last:
            return
        if self.should_stop():
            raise Stopped("stopped after an evaluation")
        if is_pruned:
            raise TrialPruned

    @property
    def number(self) -> int:
        """Number of the trial."""
        return self.claim.trial_number

    def warn(self, message: str) -> None:
        """Log a warning about the training, and store it with the trial."""
        _log.warning("trial %d: %s", self.number, message)
        self._warnings.append(message)
        if not self.lease.cut_off:  # else it is written at the end
            self.lease.reach(self._write_warning)

    def _write_warning(self) -> Orders:
        return self.claims.warn(self.claim, self.warning or "")

    @property
    def warning(self) -> str | None:
        """All warnings about the training; None where there is none."""
        return "\n".join(self._warnings) or None

    def progress(self) -> None:
        """Record that the training goes on."""
        self.lease.stall.progress()

    def again(self, why: str) -> None:
        """Take what was reported as an earlier attempt's: the training begins again."""
        self._forget()
        self.remark = self.spared_at = None
        self.is_repeated = True
        self.warn(why)

    def restore(self, history: Sequence[Evaluation]) -> None:
        """Make the evaluations of a checkpoint the trial's only ones so far."""
        self._forget()
        rows = [self._row(evaluation) for evaluation in history]
        if rows or self.earlier:
            self.outbox.replace(rows, first=1)

    def rewind(self, epoch: float, step: float = math.inf) -> int:
        """Delete what earlier attempts reported from `epoch` or `step` on.

        Returns the index of the next evaluation, from 1.
        """
        if self.earlier and not self.values:
            for evaluation in self.earlier:
                if evaluation.epoch < epoch and evaluation.step < step:
                    self._take(evaluation)
            self.outbox.replace([], first=len(self.values) + 1)
        return len(self.values) + 1

    @property
    def last(self) -> float | None:
        """The latest value; None where there is none."""
        return self.values[-1] if self.values else None

    def value(self) -> float | None:
        """Return the trial's value: its best or last, by `metric.at`. Raises NoFiniteValue."""
        return value_of(self.values, self.metric)

    def _is_pruned(self, verified: bool) -> bool:
        """Return whether the pruner ends the trial now, given the stored evaluations of all.

        Never between the moments at which trials are compared.
        """
        if self.spared_at is not None or self.moments[-1] is None:
            return False
        known = [value for value in self.values if value is not None]
        if not known:
            return False
        worst = max(known) if self.metric.mode == "min" else min(known)
        compared = [
            (worst if value is None else value, moment)
            for value, moment in zip(self.values, self.moments, strict=True)
            if moment is not None
        ]
        values, moments = zip(*compared, strict=True)
        trial = Running(
            values, moments, self.progressed, self.claim.number, self.trajectory, verified
        )
        with self.open_history() as peers:
            if not self.pruner.should_prune(trial, peers):
                return False
        if self.pruner.spares(self.claim.number):
            self.spared_at = len(self.values)
        return self.spared_at is None

    def _row(self, evaluation: Evaluation) -> Row:
        """Append an evaluation's value and return its row. Raises as `measured` does."""
        scored = replace(evaluation, value=measured(evaluation, self.metric))
        self._take(scored)
        rates = self.trajectory.rates(self.progressed) if evaluation.verified else None
        return {
            "trial_id": self.claim.trial_id,
            "study_id": self.claims.study_id,
            "bracket": self.bracket,
            "moment": self.moments[-1],
            "progress": self.progressed,
            "rate_left": None if rates is None else rates.left,
            **to_columns(scored),
        }

    def _take(self, scored: Evaluation) -> None:
        """Take note of an evaluation and of the moment it is at."""
        latest = moment_of(self.progressed, self.parts)
        self.progressed = self.trajectory.progress(scored)
        moment = moment_of(self.progressed, self.parts)
        self.values.append(scored.value)
        self.moments.append(moment if moment > latest else None)

    def _forget(self) -> None:
        """Forget all evaluations."""
        self.values, self.moments, self.progressed = [], [], 0.0


def measured(evaluation: Evaluation, metric: MetricSettings) -> float | None:
    """Return the metric's value; None where it is not finite and counts as the worst.

    Raises Diverged where it is a loss that is not finite, and UserError where it was not reported,
    or is another metric that is not finite and `metric.nan` is not "worst".
    """
    name = metric.name
    value = evaluation.values.get(name)
    if value is None:
        raise UserError(
            f"metric.name: {name!r} was not reported; reported: "
            f"{', '.join(evaluation.values) or 'no value'}; "
            f"report {name}=..., or name another one as metric.name"
        )
    if math.isfinite(value):
        return value
    if is_loss(name):
        raise Diverged(evaluation.step, evaluation.lr_end[0], value, name)
    if metric.nan == "worst":
        return None
    losses = ", ".join(
        f"{name} {number(loss)}" for name, loss in evaluation.values.items() if is_loss(name)
    )
    diverged = f", though the training has not diverged ({losses})" if losses else ""
    raise UserError(
        f"the metric {name} is {value:g} at step {evaluation.step}{diverged}: mend it, or let such "
        f"an evaluation count as the worst with metric.nan=worst"
    )


def value_of(values: Sequence[float | None], metric: MetricSettings) -> float | None:
    """Return a training's value: its best or last, by `metric.at`; None before the first.

    None among `values` stands for a value that was not finite: it counts as the worst. Raises
    NoFiniteValue where all are, or the last is and counts.
    """
    if not values:
        return None
    known = [value for value in values if value is not None]
    if not known or (metric.at == "last" and values[-1] is None):
        raise NoFiniteValue(
            f"the metric {metric.name} was not finite at the {metric.at} evaluation: counted as "
            f"the worst, as metric.nan says"
        )
    if metric.at == "last":
        return known[-1]
    return min(known) if metric.mode == "min" else max(known)
