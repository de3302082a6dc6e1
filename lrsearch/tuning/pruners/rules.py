"""Pruning rules: when a trial ends early. They see other trials through `Peers` only.

Trials are compared at moments, which divide a training into equal parts: as many as a trial of
lrsearch's own training has evaluations. In a training loop of the user's own they are the epochs,
however often it reports. Of several evaluations within a part, the first one counts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from lrsearch.seeds import derived_seed
from lrsearch.tuning.forecast import History
from lrsearch.tuning.trajectory import LrTrajectory, Rates

Mode = Literal["min", "max"]


@dataclass(frozen=True)
class Group:
    """The trials that are compared with one another: those with an evaluation at a moment."""

    moment: int
    """Counted from 1."""
    complete: bool = False
    """Whether only complete trials are compared."""
    bracket: int | None = None
    """The bracket whose trials alone are compared; None for all."""


@dataclass(frozen=True)
class Curve:
    """The values of a trial, for pruners of the user's own."""

    slot: int
    """Number of the trial slot."""
    number: int
    """Number of the trial, from 0."""
    values: Sequence[tuple[int, float | None]]
    """Moment and value; None where the metric was not a number."""
    outcome: str | None
    """None while the trial runs."""
    final: float | None
    """The trial's value; None where it has none."""


class Peers(History, Protocol):
    """The trials of a study, the one that is judged included."""

    def begun(self) -> int:
        """Return the number of begun trials among those that `at` considers."""

    def complete(self) -> int:
        """Return the number of complete trials."""

    def count(self, group: Group) -> int:
        """Return the number of trials in the group."""

    def ranked(self, group: Group, mode: Mode, first: int, how_many: int) -> Sequence[float]:
        """Return up to `how_many` values from rank `first` on; the best has rank 0."""

    def curves(self, first: int) -> Sequence[Curve]:
        """Return the trials from number `first` on that have an evaluation, by number."""


@dataclass(frozen=True)
class Running:
    """The trial that is judged."""

    values: Sequence[float]
    """Values at its moments so far: at least one, all finite."""
    moments: Sequence[int]
    """The moment of each value, counted from 1; they increase."""
    progress: float
    """Share of the training that is done."""
    slot: int
    """Number of the trial slot."""
    trajectory: LrTrajectory
    verified: bool = True
    """Whether the trial's learning rates are those of its trajectory, as far as is known."""

    @property
    def spacing(self) -> float:
        """Mean share of the training between two values."""
        return 1 / planned(len(self.values), self.progress)

    @property
    def rates(self) -> Rates | None:
        """The learning rates now; None where they are not known."""
        return self.trajectory.rates(self.progress) if self.verified else None


def planned(done: int, progress: float) -> int:
    """Return the number of values of a whole training, `done` of which are known by now."""
    return max(1, round(done / progress))


class Pruner(Protocol):
    """Decides at each moment but the last whether a trial goes on."""

    def bracket(self, slot: int) -> int | None:
        """Return the bracket of a slot's trial, which is stored with its evaluations."""
        return None

    def spares(self, slot: int) -> bool:
        """Return whether a slot's trial is never pruned, in order to check the pruner."""
        return False

    def should_prune(self, trial: Running, peers: Peers) -> bool:
        """Return whether the trial ends now; its values are among those of `peers`."""


@dataclass(frozen=True)
class Never(Pruner):
    """Lets every trial run to its end."""

    def should_prune(self, trial: Running, peers: Peers) -> bool:
        return False


@dataclass(frozen=True)
class Percentile(Pruner):
    """Ends a trial whose best value is not among the best `percentile` % of complete trials.

    Values are compared at the same moment. Nothing is pruned before `n_startup_trials` trials
    are complete, or before moment `n_warmup_steps` of the trial.
    """

    mode: Mode
    percentile: float
    n_startup_trials: int
    n_warmup_steps: int

    def should_prune(self, trial: Running, peers: Peers) -> bool:
        now = trial.moments[-1]
        if now < self.n_warmup_steps:
            return False
        group = Group(now, complete=True)
        count = peers.count(group)
        # Not all trials need have a value at this moment.
        is_starting = count < self.n_startup_trials and peers.complete() < self.n_startup_trials
        if count == 0 or is_starting:
            return False
        limit = self._limit(group, count, peers)
        return limit is not None and _is_worse(_best(trial.values, self.mode), limit, self.mode)

    def _limit(self, group: Group, count: int, peers: Peers) -> float | None:
        """Return the percentile of the group, interpolated linearly between neighbouring values."""
        share = self.percentile if self.mode == "min" else 100 - self.percentile
        position = (count - 1) * (share / 100)
        lower = math.floor(position)
        upper = min(lower + 1, count - 1)
        first = lower if self.mode == "min" else count - 1 - upper
        around = peers.ranked(group, self.mode, first, upper - lower + 1)
        if len(around) <= upper - lower:
            return None  # another transaction has removed values since they were counted
        return _between(min(around), max(around), position - lower)


@dataclass(frozen=True)
class Halving(Pruner):
    """Asynchronous successive halving (ASHA).

    Its rungs are the moments `min_resource` * `reduction_factor` ** k, for k = 0, 1, ... At its
    first value at or after a rung, one trial in `reduction_factor` goes on: the best of all that
    have a value at the same moment so far.
    """

    mode: Mode
    min_resource: int
    reduction_factor: int

    def should_prune(self, trial: Running, peers: Peers) -> bool:
        return self.cuts(trial, None, peers)

    def cuts(self, trial: Running, bracket: int | None, peers: Peers) -> bool:
        """Return whether the trial has come to a rung, and is not among the best that go on.

        It is compared with the trials of its bracket, if it has one.
        """
        before, now = [0, *trial.moments][-2:]
        if not self._has_rung(before, now):
            return False
        group = Group(now, bracket=bracket)
        # With fewer than `reduction_factor` trials at the rung, only the best so far goes on.
        last_to_go_on = max(peers.count(group) // self.reduction_factor, 1) - 1
        limit = peers.ranked(group, self.mode, last_to_go_on, 1)
        return len(limit) > 0 and _is_worse(trial.values[-1], limit[0], self.mode)

    def _has_rung(self, before: int, now: int) -> bool:
        """Return whether there is a rung after the moment `before`, up to `now`."""
        rung = self.min_resource
        while rung <= before:
            rung *= self.reduction_factor
        return rung <= now


@dataclass(frozen=True)
class Hyperband(Pruner):
    """Successive halving in brackets, which differ in the moment of their first rung.

    Each trial slot has its bracket, the same on every machine. Brackets with an earlier first rung
    get more trials, so that all brackets cost about the same.
    """

    mode: Mode
    evaluations: int
    """Number of moments of a whole trial."""
    min_resource: int
    reduction_factor: int

    def bracket(self, slot: int) -> int:
        shares = self.shares()
        position = derived_seed("bracket", slot) % sum(shares)
        bracket = 0
        while position >= shares[bracket]:
            position -= shares[bracket]
            bracket += 1
        return bracket

    def shares(self) -> list[int]:
        """Return the share of trials of each bracket, as proportions."""
        brackets = 1
        while self.min_resource * self.reduction_factor**brackets <= self.evaluations:
            brackets += 1
        cuts = range(brackets, 0, -1)  # number of rungs that a whole trial of the bracket passes
        return [math.ceil(brackets * self.reduction_factor ** (cut - 1) / cut) for cut in cuts]

    def should_prune(self, trial: Running, peers: Peers) -> bool:
        bracket = self.bracket(trial.slot)
        first = self.min_resource * self.reduction_factor**bracket
        halving = Halving(self.mode, first, self.reduction_factor)
        return halving.cuts(trial, bracket, peers)


@dataclass(frozen=True)
class Patient(Pruner):
    """Prunes as `rule` does, but only after `patience` + 1 values without a gain."""

    rule: Pruner
    mode: Mode
    patience: int
    min_delta: float
    """Loss of the best value, compared with before, that still counts as a gain."""

    def should_prune(self, trial: Running, peers: Peers) -> bool:
        values = trial.values
        earlier, lately = values[: -self.patience - 1], values[-self.patience - 1 :]
        if not earlier:
            return False
        tolerance = self.min_delta if self.mode == "min" else -self.min_delta
        goal = _best(earlier, self.mode) + tolerance
        return _is_worse(_best(lately, self.mode), goal, self.mode) and self.rule.should_prune(
            trial, peers
        )


@dataclass(frozen=True)
class Threshold(Pruner):
    """Ends a trial whose last value is out of bounds, from moment `n_warmup_steps` on."""

    lower: float
    upper: float
    n_warmup_steps: int

    def should_prune(self, trial: Running, peers: Peers) -> bool:
        is_warm = trial.moments[-1] >= self.n_warmup_steps
        return is_warm and not self.lower <= trial.values[-1] <= self.upper


def _best(values: Sequence[float], mode: Mode) -> float:
    return min(values) if mode == "min" else max(values)


def _is_worse(value: float, than: float, mode: Mode) -> bool:
    return value > than if mode == "min" else value < than


def _between(low: float, high: float, weight: float) -> float:
    """Interpolate linearly from `low` (weight 0) to `high` (weight 1)."""
    # From the nearer end, as NumPy does: so rounding errors cannot leave the interval.
    if weight < 0.5:
        return low + (high - low) * weight
    return high - (high - low) * (1 - weight)
