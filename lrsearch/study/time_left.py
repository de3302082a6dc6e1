"""Estimate of the time that a sweep still takes, from its snapshots.

A trial takes the seconds of a whole training with its batch size, times the share of it after which
trials end, and some seconds besides: all three as in the latest trials. The workers divide the
trials that are left among them, and the runs of the confirmation after that.
"""

from __future__ import annotations

import heapq
import math
import statistics
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lrsearch.settings import Settings
from lrsearch.states import Outcome, RunKind, StudyState, WorkState
from lrsearch.study.progress import Finished, Running, Snapshot, ranked
from lrsearch.tuning.samplers import is_adaptive

_RECENT = 30
"""Number of latest trials that count: the load of machines and what samplers choose change."""
_USUAL_SHARES = {
    "none": 0.97,
    "threshold": 0.9,
    "patient": 0.8,
    "percentile": 0.5,
    "median": 0.35,
    "schedule_aware": 0.83,
    "hyperband": 0.35,
    "asha": 0.25,
}
"""Mean share of its training after which a trial ends, by pruner, before any is known."""
_USUAL_SHARE = 0.8
"""That of the user's own pruner."""
_SHARE_TRIALS = 6
"""Number of trials that weigh as much as the usual share."""
_SPACE_TRIALS, _BEST = 4, 1 / 3
"""With adaptive samplers, number of trials that weigh as much as the space for batch sizes to come.

With the share of the trials so far, the best, near which they choose.
"""
_SLOWEST = 0.15
"""Share of their trials that is expected to have the slowest batch size, before any is known.

In the same number of epochs the smallest batches make the most steps, which often wins.
"""
_MODEL_TRIALS, _MODEL_SECONDS = 15, 0.35
"""Number of trials from which on adaptive samplers fit a model, and the seconds it takes."""
_BLIND_SECONDS = 0.12
"""Seconds in which a trial is claimed, chosen without a model, and ended."""
_LATEST = 8
"""Number of latest trials whose seconds besides their trainings count: samplers become slower."""
_MIDDLE_SIZES = [2.0**k for k in range(17)]
"""Batch sizes at which the fixed cost of a step may equal the cost of its samples."""
_USUAL_MIDDLE, _MIDDLE_SPREAD = 256, 1.5
"""Usual one, and the standard deviation of its natural logarithm."""
_PACE_ERROR = 0.3
"""Standard deviation of the logarithm of the seconds of trainings with the same batch size."""
_WARM_UP = 1.0
"""Seconds in which the first trial of a worker imports what it needs, at least."""
_FIRST_WEIGHT = 0.25
"""Weight of the first trial of each worker, in which it warms up."""
_SETTLING = 0.02
"""Seconds in which what is shown approaches a new estimate, as a share of the time left."""


@dataclass(frozen=True)
class Expected:
    """What is known of a sweep before it begins."""

    batch_sizes: tuple[int, ...] = (_USUAL_MIDDLE,)
    """Batch sizes of its space, each as likely as the others."""
    adaptive: bool = True
    """Whether its sampler chooses by the values of earlier trials; else it chooses each batch size
    as often."""
    pruner: str = "none"
    """Name of the pruner."""
    top: int = 0
    """Number of trials that are confirmed; 0 without a confirmation."""
    seeds: int = 0
    """Number of seeds on which each of them is trained again."""
    mode: str = "min"
    """Whether lower (`min`) or higher (`max`) values of the metric are better."""

    @classmethod
    def of(cls, settings: Settings) -> Expected:
        """Return what the settings of a sweep say."""
        confirm = settings.confirm
        return cls(
            batch_sizes=tuple(map(int, settings.space.shared["batch_size"].grid())),
            adaptive=is_adaptive(settings.sampler),
            pruner=settings.pruner.name,
            top=0 if confirm is None else confirm.top,
            seeds=0 if confirm is None else confirm.seeds,
            mode=settings.metric.mode,
        )


@dataclass(frozen=True)
class Measured:
    """The seconds of a whole training with a batch size, as one training shows them."""

    batch_size: int
    seconds: float
    weight: float


@dataclass(frozen=True)
class Pace:
    """Seconds of a whole training by batch size: `factor * (1 / batch_size + 1 / middle)`.

    At the batch size `middle` the fixed cost of a step equals the cost of its samples.
    """

    factor: float
    middle: float

    def seconds(self, batch_size: int) -> float:
        """Return the seconds of a whole training."""
        return self.factor * (1 / batch_size + 1 / self.middle)

    @classmethod
    def fitted(cls, measured: Sequence[Measured]) -> Pace | None:
        """Fit the logarithms of measured seconds, with a normal prior for that of `middle`."""
        if not measured:
            return None
        total = sum(one.weight for one in measured)

        def fit(middle: float) -> tuple[float, Pace]:
            ratios = [math.log(one.seconds / (1 / one.batch_size + 1 / middle)) for one in measured]
            weights = [one.weight for one in measured]
            level = sum(w * r for w, r in zip(weights, ratios, strict=True)) / total
            misfit = sum(w * (r - level) ** 2 for w, r in zip(weights, ratios, strict=True))
            surprise = math.log(middle / _USUAL_MIDDLE) / _MIDDLE_SPREAD
            return misfit / _PACE_ERROR**2 + surprise**2, cls(math.exp(level), middle)

        return min(map(fit, _MIDDLE_SIZES), key=lambda fitted: fitted[0])[1]


@dataclass
class _Progress:
    """Progress of a running training as it was seen."""

    since: float
    """When it was first seen."""
    share: float | None = None
    """Share of it that is done."""
    at: float = 0.0
    """When that was first seen."""
    first: tuple[float, float] | None = None
    """The first share that was seen, and when."""

    def see(self, share: float, now: float) -> None:
        """Take note of the share that is done."""
        if share != self.share:
            self.share, self.at = share, now
            self.first = self.first or (share, now)

    def whole_seconds(self) -> float | None:
        """Return the seconds of the whole training at its pace so far; None where not known.

        Before its second evaluation the time in which it warmed up is only roughly left out.
        """
        if self.share is None or self.first is None:
            return None
        share, at = self.first
        if self.share > share:
            return (self.at - at) / (self.share - share)
        passed = self.at - self.since
        return max(passed - _WARM_UP, passed / 4) / share if share else None

    def share_now(self, whole_seconds: float, now: float) -> float:
        """Return the share that is done by now, in a training that takes so many seconds."""
        share, at = (0.0, self.since) if self.share is None else (self.share, self.at)
        return min(1.0, share + (now - at) / whole_seconds)


class TimeLeft:
    """The time left of one sweep; times are seconds of any clock that never goes back."""

    def __init__(self, expected: Expected, workers: int, finished: Iterable[Finished]) -> None:
        """Begin with the trials that have ended already.

        `workers` is the number of workers; 0 where it is not known: then the largest number of
        trainings at the same time counts.
        """
        self._expected, self._workers = expected, workers
        self._ended: list[Finished] = []
        self._recent: deque[Finished] = deque(maxlen=_RECENT)
        self._measured: deque[Measured] = deque(maxlen=_RECENT)
        self._besides: deque[float] = deque(maxlen=_LATEST)
        """Seconds of trials besides their trainings, such as those in which the sampler chose."""
        for trial in finished:
            self._learn(trial)
        self._pace = Pace.fitted(self._measured)
        self._running: dict[tuple[str, str | None, int | None], _Progress] = {}
        self._looked_at: float | None = None
        self._shown: float | None = None

    def look(self, snapshot: Snapshot, new: Sequence[Finished], now: float) -> float | None:
        """Take note of the state at a time; return the seconds left, None while not known."""
        passed = 0.0 if self._looked_at is None else max(0.0, now - self._looked_at)
        self._looked_at = now
        for trial in new:
            self._learn(trial)
        if new:
            self._pace = Pace.fitted(self._measured)
        running = [*snapshot.running, *snapshot.auxiliary_running]
        self._watch(running, now)
        self._workers = max(self._workers, len(running), 1)
        pace = self._pace or self._pace_of(running)
        if pace is None or snapshot.state != StudyState.OPEN:
            self._shown = None
            return None
        return self._settled(self._left(snapshot, pace, now), passed)

    def _learn(self, trial: Finished) -> None:
        """Take note of an ended trial."""
        is_first = len(self._ended) < max(1, self._workers)
        self._ended.append(trial)
        self._recent.append(trial)
        size, seconds = batch_size(trial.recipe), trial.seconds or 0.0
        trained = seconds if trial.trained is None else trial.trained
        if trained and size and (share := _share(trial)):
            self._measured.append(
                Measured(size, trained / share, share * (_FIRST_WEIGHT if is_first else 1.0))
            )
        if not is_first:
            self._besides.append(max(0.0, seconds - trained))

    def _watch(self, running: Sequence[Running], now: float) -> None:
        """Take note of how far the running trainings are; forget those that have ended."""
        watched = {}
        for run in running:
            progress = self._running.get(_key(run))
            if progress is None or (run.share or 0.0) < (progress.share or 0.0):
                progress = _Progress(now)
            if run.share is not None:
                progress.see(run.share, now)
            watched[_key(run)] = progress
        self._running = watched

    def _pace_of(self, running: Iterable[Running]) -> Pace | None:
        """Return the pace of running trainings: all that is known before one has ended."""
        paces = ((run, self._running[_key(run)].whole_seconds()) for run in running)
        return Pace.fitted(
            [
                Measured(size, seconds, run.share or 1.0)
                for run, seconds in paces
                if seconds and (size := batch_size(run.recipe))
            ]
        )

    def _left(self, snapshot: Snapshot, pace: Pace, now: float) -> float:
        """Return the seconds that the workers still need: for trials, then to confirm the best."""
        whole = self._usual_seconds(pace)

        def left(run: Running) -> float:
            size = batch_size(run.recipe)
            seconds = pace.seconds(size) if size else whole
            return seconds * (1 - self._running[_key(run)].share_now(seconds, now))

        ends_at = self._usual_share()
        besides = self._seconds_besides(snapshot.total)
        slots = snapshot.total - len(self._ended) - len(snapshot.running)
        trials = seconds_until_done(
            [ends_at * left(run) for run in snapshot.running],
            slots,
            besides + ends_at * whole,
            self._workers,
        )
        sizes = self._best_sizes(max(1, self._expected.top))
        confirmation = seconds_until_done(
            [left(run) for run in snapshot.auxiliary_running],
            self._runs_to_come(snapshot),
            _BLIND_SECONDS + (statistics.fmean(map(pace.seconds, sizes)) if sizes else whole),
            self._workers,
        )
        return trials + confirmation

    def _seconds_besides(self, total: int) -> float:
        """Return the mean seconds that trials to come take besides their trainings.

        Models of samplers take time in proportion to the number of trials they are fitted to.
        """
        besides = statistics.fmean(self._besides) if self._besides else 0.0
        ended = len(self._ended)
        if not self._expected.adaptive:
            return besides
        if ended < _MODEL_TRIALS:
            return max(besides, usual_seconds_besides(self._expected, total))
        return besides * (1 + max(total, ended) / ended) / 2

    def _usual_share(self) -> float:
        """Return the mean share of its training after which a trial is expected to end."""
        usual = usual_share(self._expected.pruner)
        known = sum(map(_share, self._recent))
        return (_SHARE_TRIALS * usual + known) / (_SHARE_TRIALS + len(self._recent))

    def _usual_seconds(self, pace: Pace) -> float:
        """Return the mean seconds of the whole trainings of trials to come."""
        of_space = statistics.fmean(map(pace.seconds, self._expected.batch_sizes))
        if not self._expected.adaptive:
            return of_space
        slowest = max(map(pace.seconds, self._expected.batch_sizes))
        prior = (1 - _SLOWEST) * of_space + _SLOWEST * slowest
        best = self._best_sizes(math.ceil(_BEST * len(self._ended)))
        known = sum(map(pace.seconds, best))
        return (_SPACE_TRIALS * prior + known) / (_SPACE_TRIALS + len(best))

    def _best_sizes(self, count: int) -> list[int]:
        """Return the batch sizes of the best trials so far."""
        best = ranked(self._ended, self._expected.mode)[:count]
        return [size for trial in best if (size := batch_size(trial.recipe))]

    def _runs_to_come(self, snapshot: Snapshot) -> int:
        """Return the number of runs of a confirmation that may begin yet."""
        runs = [run for run in snapshot.auxiliary_runs if run.kind == RunKind.CONFIRM]
        to_come = self._expected.top * self._expected.seeds
        if runs:
            to_come = sum(run.state == WorkState.OPEN for run in runs)
        return to_come

    def _settled(self, left: float, passed: float) -> float:
        """Return the seconds left to show: they count down, and approach the estimate slowly."""
        if self._shown is not None:
            counted = max(0.0, self._shown - passed)
            weight = 1 - math.exp(-passed / (0.5 + _SETTLING * left))
            left = counted + weight * (left - counted)
        self._shown = left
        return left


def predicted_seconds(
    expected: Expected, trials: int, seconds_of: Mapping[int, float], workers: int
) -> float:
    """Return the seconds of a sweep before it begins, from the seconds of a trial by batch size."""
    whole = statistics.fmean(seconds_of.values())
    runs = min(expected.top, trials) * expected.seeds
    each = usual_share(expected.pruner) * whole + usual_seconds_besides(expected, trials)
    search = seconds_until_done([], trials, each, workers)
    return search + seconds_until_done([], runs, whole, workers)


def usual_seconds_besides(expected: Expected, total: int) -> float:
    """Return the mean seconds of trials besides their trainings, of `total`, before any is known.

    The time to fit a model grows in proportion to the number of trials.
    """
    if not expected.adaptive:
        return _BLIND_SECONDS
    return _MODEL_SECONDS * (1 + max(total, _MODEL_TRIALS) / _MODEL_TRIALS) / 2


def usual_share(pruner: str) -> float:
    """Return the mean share of its training after which a trial ends, before any is known."""
    return _USUAL_SHARES.get(pruner, _USUAL_SHARE)


def seconds_until_done(running: Sequence[float], count: int, each: float, workers: int) -> float:
    """Return the seconds until `workers` are done with what runs and `count` trainings after it.

    `running` are the seconds that the running ones still take, `each` those of any other.
    """
    free_at = sorted([*running, *[0.0] * (workers - len(running))])
    if count <= 0 or each <= 0:
        return free_at[-1]
    # Rounds in which every worker has a turn are skipped, since there may be thousands.
    rounds = max(0, count // len(free_at) - math.ceil(free_at[-1] / each) - 1)
    free_at = [at + rounds * each for at in free_at]
    for _ in range(count - rounds * len(free_at)):
        heapq.heapreplace(free_at, free_at[0] + each)
    return max(free_at)


def batch_size(recipe: Mapping[str, Any] | None) -> int | None:
    """Return the batch size of a stored recipe; None where it is not known yet."""
    return None if recipe is None else int(recipe["batch_size"])


def _share(trial: Finished) -> float:
    """Return the share of its training after which a trial ended."""
    if trial.share is None:
        return 1.0 if trial.outcome == Outcome.COMPLETE else 0.0
    return trial.share


def _key(run: Running) -> tuple[str, str | None, int | None]:
    return run.owner, run.kind, run.trial
