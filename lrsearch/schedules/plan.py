"""What a scheduler family is given, and the torch call that it makes of it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lrsearch.schedules.durations import Duration, Length
from lrsearch.schedules.formula import of_step_alone


@dataclass(frozen=True)
class ScheduleInputs:
    """What a family needs to know: its parameters, the peak rate, and the time it has."""

    parameters: Mapping[str, Any]
    lr: float
    length: Length
    warmup_steps: int

    def __getitem__(self, name: str) -> Any:
        return self.parameters[name]

    @property
    def steps(self) -> int:
        """Steps after the warm-up."""
        return self.length.steps - self.warmup_steps

    def in_steps(self, value: Any) -> int:
        """A stretch of time in steps."""
        return self.length.in_steps(Duration.parse(value))

    def moment(self, value: Any) -> int:
        """A point in the whole training, in steps after the warm-up; at least 0."""
        duration = Duration.parse(value)
        if duration.amount == 0:
            return 0
        return max(0, self.length.in_steps(duration) - self.warmup_steps)


@dataclass(frozen=True)
class StepFunction:
    """A function of the scheduler's step, as Python source of the grammar of `Formula`."""

    source: str

    def __call__(self, step: int) -> float:
        return _compiled(self.source)(step)


@functools.lru_cache(maxsize=256)
def _compiled(source: str) -> Callable[[int], float]:
    # Not kept on the object: torch writes an object's attributes into the scheduler's state.
    return of_step_alone(source)


@dataclass(frozen=True)
class TorchCall:
    """A class of torch.optim.lr_scheduler and its arguments, ready to be built or printed."""

    scheduler: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    monitor: str | None = None
    """The metric that drives it, once an evaluation; None for one that steps each batch."""
