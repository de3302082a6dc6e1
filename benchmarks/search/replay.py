"""What pruners do to recorded trainings: which of them they end, and what that saves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from problems import Curve
from simulate import Memory, Trial, course_of

from lrsearch.pruning.catalogue import build_pruner
from lrsearch.pruning.rules import Running


@dataclass(frozen=True)
class Recorded:
    """A training with its optimizer and peak rate."""

    curve: Curve
    optimizer: str = "adam"
    warmup: float = 0.0

    def trial(self, number: int) -> Trial:
        """A trial that will go through it."""
        return Trial(number, self.curve, course_of(self.curve, self.optimizer, self.warmup))


@dataclass(frozen=True)
class Replayed:
    """The trials in their order, one after the other."""

    trials: Sequence[Trial]

    @property
    def epochs(self) -> float:
        """Spent, as a share of what all whole trainings take."""
        whole = sum(trial.course.evaluations for trial in self.trials)
        return sum(trial.reached for trial in self.trials) / whole


def replay(recorded: Sequence[Recorded], pruner_name: str, **arguments: object) -> Replayed:
    """Runs the trainings in order, as a single worker would, whatever a sampler might do."""
    memory = Memory(build_pruner(pruner_name, arguments, len(recorded[0].curve.rates), "min"))
    for number, one in enumerate(recorded):
        trial = one.trial(number)
        memory.trials.append(trial)
        while trial.state == "running":
            trial.advance(memory)
    return Replayed(memory.trials)


def is_pruned_among(
    recorded: Sequence[Recorded], which: int, progress: float, pruner_name: str
) -> bool:
    """Whether one training would be ended at a moment, all others being complete."""
    others = [one.trial(k) for k, one in enumerate(recorded) if k != which]
    for other in others:
        other.reached, other.state = len(other.curve.values), "complete"
    trial = recorded[which].trial(which)
    trial.reached = round(progress * trial.course.evaluations)
    pruner = build_pruner(pruner_name, {"spare": 0.0}, trial.course.evaluations, "min")
    memory = Memory(pruner)
    memory.trials += [*others, trial]
    return pruner.should_prune(Running(trial.values, which, trial.course), memory)
