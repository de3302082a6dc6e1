"""Pruning rules: when a trial ends early. They see other trials through `Peers` only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from lrsearch.seeds import derived_seed
from lrsearch.tuning.forecast import History
from lrsearch.tuning.trajectory import LrTrajectory

Mode = Literal["min", "max"]


@dataclass(frozen=True)
class Group:
    """The trials that are compared with one another: those that have reached an evaluation."""

    evaluation: int
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
    """Evaluation and value; None where the metric was not a number."""
    outcome: str | None
    """None while the trial runs."""
    final: float | None
    """The trial's value; None where it has none."""


class Peers(History, Protocol):
    """The trials of a study, the one that is judged included."""

    def begun(self) -> int:
        """Return the number of begun trials among those that `at` considers."""

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
    """Values at the evaluations 1 to now: at least one, all finite."""
    slot: int
    """Number of the trial slot."""
    trajectory: LrTrajectory


class Pruner(Protocol):
    """Decides after each evaluation but the last whether a trial goes on."""

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

    Values are compared at the same evaluation. Nothing is pruned before `n_startup_trials` trials
    are complete, or before evaluation `n_warmup_steps` of the trial.
    """

    mode: Mode
    percentile: float
    n_startup_trials: int
    n_warmup_steps: int

    def should_prune(self, trial: Running, peers: Peers) -> bool:
        now = len(trial.values)
        if now < self.n_warmup_steps:
            return False
        group = Group(now, complete=True)
        count = peers.count(group)
        if count == 0 or (count < self.n_startup_trials and self._is_starting(peers)):
            return False
        limit = self._limit(group, count, peers)
        return limit is not None and _is_worse(_best(trial.values, self.mode), limit, self.mode)

    def _is_starting(self, peers: Peers) -> bool:
        # Trials may differ in length, but each has a first evaluation.
        return peers.count(Group(1, complete=True)) < self.n_startup_trials

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

    Its rungs are the evaluations `min_resource` * `reduction_factor` ** k, for k = 0, 1, ... At a
    rung, one in `reduction_factor` goes on: the best of all trials that have reached it so far.
    """

    mode: Mode
    min_resource: int
    reduction_factor: int

    def should_prune(self, trial: Running, peers: Peers) -> bool:
        return self.cuts(trial.values, Group(len(trial.values)), peers)

    def cuts(self, values: Sequence[float], group: Group, peers: Peers) -> bool:
        """Return whether the trial is at a rung, and not among the best of the group that go on."""
        if not self._is_rung(group.evaluation):
            return False
        # With fewer than `reduction_factor` trials at the rung, only the best so far goes on.
        last_to_go_on = max(peers.count(group) // self.reduction_factor, 1) - 1
        limit = peers.ranked(group, self.mode, last_to_go_on, 1)
        return len(limit) > 0 and _is_worse(values[-1], limit[0], self.mode)

    def _is_rung(self, evaluation: int) -> bool:
        rung = self.min_resource
        while rung < evaluation:
            rung *= self.reduction_factor
        return rung == evaluation


@dataclass(frozen=True)
class Hyperband(Pruner):
    """Successive halving in brackets, which differ in the evaluation of their first rung.

    Each trial slot has its bracket, the same on every machine. Brackets with an earlier first rung
    get more trials, so that all brackets cost about the same.
    """

    mode: Mode
    evaluations: int
    """Number of evaluations of a whole trial."""
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
        return halving.cuts(trial.values, Group(len(trial.values), bracket=bracket), peers)


@dataclass(frozen=True)
class Patient(Pruner):
    """Prunes as `rule` does, but only after `patience` + 1 evaluations without a gain."""

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
    """Ends a trial whose last value is out of bounds, from evaluation `n_warmup_steps` on."""

    lower: float
    upper: float
    n_warmup_steps: int

    def should_prune(self, trial: Running, peers: Peers) -> bool:
        values = trial.values
        return len(values) >= self.n_warmup_steps and not self.lower <= values[-1] <= self.upper


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
