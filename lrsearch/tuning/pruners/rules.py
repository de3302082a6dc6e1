"""When a trial is cut short. The rules see other trials only through `Peers`."""

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
    """The trials that are compared: those that have a value at this evaluation."""

    evaluation: int
    """Counts from 1."""
    complete: bool = False
    """Only those that ran to their end."""
    bracket: int | None = None
    """Only those of this bracket."""


@dataclass(frozen=True)
class Curve:
    """A trial with its values, for pruners of the user's own."""

    unit: int
    number: int
    """The trial's, from 0."""
    values: Sequence[tuple[int, float | None]]
    """Evaluation and value; None where the metric was not a number."""
    outcome: str | None
    """None while it goes on."""
    final: float | None


class Peers(History, Protocol):
    """Answers questions about the trials of a study, the asking one among them."""

    def begun(self) -> int:
        """How many trials have begun, of those that `at` looks at."""

    def count(self, group: Group) -> int:
        """How many trials are in the group."""

    def ranked(self, group: Group, mode: Mode, first: int, how_many: int) -> Sequence[float]:
        """Values from rank `first` on, the best one being rank 0; fewer where they end."""

    def curves(self, first: int) -> Sequence[Curve]:
        """The trials from number `first` on that have an evaluation, in order of their numbers."""


@dataclass(frozen=True)
class Running:
    """The trial that is judged."""

    values: Sequence[float]
    """At the evaluations 1 to now, one at least, all finite."""
    unit: int
    trajectory: LrTrajectory


class Pruner(Protocol):
    """Decides after each evaluation but the last whether a trial goes on."""

    def bracket(self, unit: int) -> int | None:
        """Which bracket a unit's trial belongs to, to be stored with its evaluations."""
        return None

    def spares(self, unit: int) -> bool:
        """Whether a unit's trial runs to its end even if it should be pruned, as a check."""
        return False

    def should_prune(self, trial: Running, peers: Peers) -> bool:
        """Whether the trial ends here; `peers` know its values, too."""


@dataclass(frozen=True)
class Never(Pruner):
    """Lets every trial run to its end."""

    def should_prune(self, trial: Running, peers: Peers) -> bool:
        return False


@dataclass(frozen=True)
class Percentile(Pruner):
    """Ends a trial whose best value is not among the best `percentile` % of complete trials.

    These are compared at the same evaluation, and once `n_startup_trials` are complete. The first
    `n_warmup_steps` - 1 evaluations of a trial are not looked at.
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
        """The percentile, interpolated linearly between the values around it."""
        share = self.percentile if self.mode == "min" else 100 - self.percentile
        position = (count - 1) * (share / 100)
        lower = math.floor(position)
        upper = min(lower + 1, count - 1)
        first = lower if self.mode == "min" else count - 1 - upper
        around = peers.ranked(group, self.mode, first, upper - lower + 1)
        if len(around) <= upper - lower:
            return None  # since it was counted, another transaction has taken values away
        return _between(min(around), max(around), position - lower)


@dataclass(frozen=True)
class Halving(Pruner):
    """Asynchronous successive halving (ASHA).

    Its rungs are the evaluations `min_resource` times 1, `reduction_factor`, its square, and so on.
    From each one in `reduction_factor` goes on: the best of all trials that have come there so far.
    """

    mode: Mode
    min_resource: int
    reduction_factor: int

    def should_prune(self, trial: Running, peers: Peers) -> bool:
        return self.cuts(trial.values, Group(len(trial.values)), peers)

    def cuts(self, values: Sequence[float], group: Group, peers: Peers) -> bool:
        """Whether the trial is at a rung and not good enough among the group."""
        if not self._is_rung(group.evaluation):
            return False
        # Until there are enough, only the best so far goes on.
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
    """Successive halving in brackets, which differ in how late they cut first.

    Each unit has its bracket, the same on every machine. A bracket that cuts early gets more of
    them, for a bracket is to cost about as much as any other.
    """

    mode: Mode
    evaluations: int
    """How many a whole trial has."""
    min_resource: int
    reduction_factor: int

    def bracket(self, unit: int) -> int:
        shares = self.shares()
        place = derived_seed("bracket", unit) % sum(shares)
        bracket = 0
        while place >= shares[bracket]:
            place -= shares[bracket]
            bracket += 1
        return bracket

    def shares(self) -> list[int]:
        """How many units each bracket gets, in proportion."""
        brackets = 1
        while self.min_resource * self.reduction_factor**brackets <= self.evaluations:
            brackets += 1
        cuts = range(brackets, 0, -1)  # that a whole trial of the bracket lives through
        return [math.ceil(brackets * self.reduction_factor ** (cut - 1) / cut) for cut in cuts]

    def should_prune(self, trial: Running, peers: Peers) -> bool:
        bracket = self.bracket(trial.unit)
        first = self.min_resource * self.reduction_factor**bracket
        halving = Halving(self.mode, first, self.reduction_factor)
        return halving.cuts(trial.values, Group(len(trial.values), bracket=bracket), peers)


@dataclass(frozen=True)
class Patient(Pruner):
    """Asks `behind` only when the last `patience` + 1 evaluations brought no gain."""

    behind: Pruner
    mode: Mode
    patience: int
    min_delta: float
    """So much worse than before is still forgiven."""

    def should_prune(self, trial: Running, peers: Peers) -> bool:
        values = trial.values
        earlier, lately = values[: -self.patience - 1], values[-self.patience - 1 :]
        if not earlier:
            return False
        tolerance = self.min_delta if self.mode == "min" else -self.min_delta
        goal = _best(earlier, self.mode) + tolerance
        return _is_worse(_best(lately, self.mode), goal, self.mode) and self.behind.should_prune(
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
    # From the nearer end, as NumPy does: then rounding cannot leave the interval.
    if weight < 0.5:
        return low + (high - low) * weight
    return high - (high - low) * (1 - weight)
