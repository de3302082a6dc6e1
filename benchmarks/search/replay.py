"""Replay of recorded trainings: which of them a pruner ends, and what that saves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from problems import Curve
from simulate import Memory, Trial, trajectory_of

from lrsearch.registry import ComponentConfig
from lrsearch.tuning.pruners import build_pruner


@dataclass(frozen=True)
class Recorded:
    """A recorded training, and what is known of it beforehand."""

    curve: Curve
    optimizer: str = "adam"
    batch_size: int = 1
    """Batch size; 1 where all of a set have the same."""
    warmup: float = 0.0

    def trial(self, number: int) -> Trial:
        """Return a simulated trial with this training."""
        trajectory = trajectory_of(self.curve, self.optimizer, self.batch_size, self.warmup)
        return Trial(number, self.curve, trajectory)


@dataclass(frozen=True)
class Replayed:
    """Trials that were replayed one after the other."""

    trials: Sequence[Trial]

    @property
    def epochs(self) -> float:
        """Epochs spent, as a share of those of all whole trainings."""
        whole = sum(trial.evaluations for trial in self.trials)
        return sum(trial.reached for trial in self.trials) / whole


def replay(recorded: Sequence[Recorded], pruner_name: str, **arguments: Any) -> Replayed:
    """Run the trainings in order, as a single worker would, without a sampler."""
    memory = Memory(
        build_pruner(ComponentConfig(pruner_name, arguments), len(recorded[0].curve.rates), "min")
    )
    for number, one in enumerate(recorded):
        trial = one.trial(number)
        memory.trials.append(trial)
        while trial.state == "running":
            trial.advance(memory)
    return Replayed(memory.trials)


def ended_among(
    recorded: Sequence[Recorded], progress: float, pruner_name: str, arguments: Mapping[str, Any]
) -> dict[int, bool]:
    """Return which trainings a pruner would end at a moment, with all others complete.

    Those that diverged earlier are left out: no decision is made about them.
    """
    moment = round(progress * len(recorded[0].curve.rates))
    found = {}
    for which, (trial, memory) in enumerate(_among_whole(recorded, pruner_name, arguments)):
        if len(trial.curve.values) >= moment:
            found[which] = _is_ended_at(trial, moment, memory)
    return found


def ends_among(
    recorded: Sequence[Recorded], pruner_name: str, arguments: Mapping[str, Any]
) -> list[int | None]:
    """Return the evaluation at which each training would be ended, with all others complete.

    None for those that would not; no decision is made at the last evaluation.
    """
    return [
        next((moment for moment in _moments(trial) if _is_ended_at(trial, moment, memory)), None)
        for trial, memory in _among_whole(recorded, pruner_name, arguments)
    ]


def _moments(trial: Trial) -> range:
    """Return the evaluations that a trial has reached, without the last of a whole training."""
    return range(1, min(len(trial.curve.values) + 1, trial.evaluations))


def _among_whole(
    recorded: Sequence[Recorded], pruner_name: str, arguments: Mapping[str, Any]
) -> Iterator[tuple[Trial, Memory]]:
    """Yield each training as the last one to begin, with all others complete."""
    evaluations = len(recorded[0].curve.rates)
    memory = Memory(build_pruner(ComponentConfig(pruner_name, arguments), evaluations, "min"))
    others = [one.trial(number) for number, one in enumerate(recorded)]
    for other in others:
        other.reached = len(other.curve.values)
        other.state = "diverged" if other.curve.diverged else "complete"
    for which, one in enumerate(recorded):
        trial = one.trial(len(recorded) - 1)
        memory.trials = [*others[:which], *others[which + 1 :], trial]
        yield trial, memory


def _is_ended_at(trial: Trial, moment: int, memory: Memory) -> bool:
    trial.reached = moment
    return memory.pruner.should_prune(trial.judged(), memory)
