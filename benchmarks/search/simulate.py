"""A sweep without training: lrsearch's space, samplers and pruners on recorded curves."""

from __future__ import annotations

import heapq
import itertools
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.trial import TrialState
from problems import Curve, Problem

from lrsearch.registry import ComponentConfig
from lrsearch.seeds import derived_seed
from lrsearch.study.history import MOST_PEERS
from lrsearch.tuning.forecast import Peer, standing
from lrsearch.tuning.pruners import build_pruner
from lrsearch.tuning.pruners.rules import Group, Mode, Peers, Pruner, Running
from lrsearch.tuning.samplers import SamplerInputs, build_sampler
from lrsearch.tuning.trajectory import LrTrajectory


@dataclass(frozen=True)
class Contestant:
    """A sampler and a pruner of lrsearch's catalogue."""

    sampler: str
    pruner: str
    sampler_arguments: Mapping[str, Any] = field(default_factory=dict)
    pruner_arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Trial:
    """A simulated trial."""

    number: int
    curve: Curve
    trajectory: LrTrajectory
    reached: int = 0
    state: str = "running"
    spared: bool = False

    @property
    def values(self) -> Sequence[float]:
        """Losses so far."""
        return self.curve.values[: self.reached]

    @property
    def evaluations(self) -> int:
        """Number of evaluations of the whole training."""
        return round(self.trajectory.whole)

    def judged(self) -> Running:
        """Return the trial as pruners see it."""
        moments, progress = range(1, self.reached + 1), self.reached / self.evaluations
        return Running(self.values, moments, progress, self.number, self.trajectory)

    def advance(self, memory: Memory) -> None:
        """Advance by one epoch; `state` then says whether the trial has ended."""
        if self.reached == len(self.curve.values):
            self.state = "diverged"
            return
        self.reached += 1
        if self.reached == self.evaluations:
            self.state = "complete"
        elif not self.spared and memory.pruner.should_prune(self.judged(), memory):
            self.spared = memory.pruner.spares(self.number)
            self.state = "running" if self.spared else "pruned"


def trajectory_of(
    curve: Curve, optimizer: str, batch_size: int, warmup: float = 0.0
) -> LrTrajectory:
    """Return the trajectory of a recorded training, which is known before it begins."""
    trajectory = LrTrajectory(len(curve.rates), optimizer, max(curve.rates), batch_size, warmup)
    rates = [curve.rates[0], *curve.rates]
    return trajectory.with_rates(rates, range(1, len(rates)))


class Memory(Peers):
    """The trials of a simulated study, for pruners and samplers. Losses are minimized."""

    def __init__(self, pruner: Pruner) -> None:
        self.pruner = pruner
        self.trials: list[Trial] = []

    def at(self, progress: float, spacing: float) -> Sequence[Peer]:
        found = []
        for trial in self.trials[-MOST_PEERS:]:
            evaluations = trial.evaluations
            last = min(math.floor((progress + spacing / 2) * evaluations - 1e-9), trial.reached)
            if last >= 1 and last / evaluations > progress - spacing / 2:
                final = trial.curve.values[-1] if trial.state == "complete" else None
                at = standing(
                    trial.curve.values[:last], trial.trajectory.rates(last / evaluations), 1.0
                )
                found.append(Peer(trial.number, at, final))
        return found

    def begun(self) -> int:
        return len(self.trials[-MOST_PEERS:])

    def reached(self) -> Mapping[int, tuple[int, int]]:
        return {
            trial.number: (trial.reached, trial.evaluations)
            for trial in self.trials
            if trial.state != "complete" and trial.reached
        }

    def complete(self) -> int:
        return sum(trial.state == "complete" for trial in self.trials)

    def count(self, group: Group) -> int:
        return len(self._values(group))

    def ranked(self, group: Group, mode: Mode, first: int, how_many: int) -> Sequence[float]:
        return sorted(self._values(group))[first : first + how_many]

    def _values(self, group: Group) -> list[float]:
        return [
            trial.curve.values[group.moment - 1]
            for trial in self.trials
            if trial.reached >= group.moment
            and (trial.state == "complete" or not group.complete)
            and (group.bracket is None or group.bracket == self.pruner.bracket(trial.number))
        ]


@dataclass(frozen=True)
class Ended:
    """A trial that has ended, with the epochs that all trials had spent by then."""

    spent: int
    trial: Trial


def simulate(
    problem: Problem, contestant: Contestant, seed: int, epochs: int, workers: int = 1
) -> Iterator[Ended]:
    """Yield trials as they end, until `epochs` are spent; all epochs take the same time."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    study = optuna.create_study(direction="minimize")
    memory = Memory(
        build_pruner(
            ComponentConfig(contestant.pruner, contestant.pruner_arguments),
            problem.evaluations,
            "min",
        )
    )

    def begin() -> tuple[Trial, optuna.Trial]:
        return _begin(study, problem, contestant, memory, seed)

    # Each worker has a next time; at equal times, the one that began first goes first.
    due = [(0, worker) for worker in range(workers)]
    running: dict[int, tuple[Trial, optuna.Trial]] = {}
    for spent in itertools.count(1):
        clock, worker = heapq.heappop(due)
        trial, asked = running.pop(worker, None) or begin()
        if spent > epochs:
            return
        trial.advance(memory)
        if trial.reached and trial.state != "diverged":
            asked.report(trial.values[-1], trial.reached)
        if trial.state == "running":
            running[worker] = trial, asked
        else:
            _tell(study, trial, asked)
            yield Ended(spent, trial)
        heapq.heappush(due, (clock + 1, worker))


def _begin(
    study: optuna.Study, problem: Problem, contestant: Contestant, memory: Memory, seed: int
) -> tuple[Trial, optuna.Trial]:
    number = len(memory.trials)
    inputs = SamplerInputs(problem.space, memory, {}, seed, derived_seed(seed, "sampler", number))
    study.sampler = build_sampler(
        ComponentConfig(contestant.sampler, contestant.sampler_arguments), inputs
    )
    asked = study.ask()
    recipe = problem.space.suggest(asked)
    curve = problem.curve(recipe, asked.params)
    trial = Trial(number, curve, trajectory_of(curve, recipe.optimizer.name, recipe.batch_size))
    memory.trials.append(trial)
    return trial, asked


def _tell(study: optuna.Study, trial: Trial, asked: optuna.Trial) -> None:
    asked.set_user_attr("status", trial.state)
    if trial.state == "complete":
        study.tell(asked, trial.values[-1])
    else:
        asked.set_constraint("works", -1.0 if trial.state == "pruned" else 1.0)
        study.tell(asked, state=TrialState.PRUNED)
