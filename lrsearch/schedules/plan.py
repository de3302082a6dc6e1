"""The inputs of a scheduler, and the call of a torch scheduler that is made from them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lrsearch.errors import UserError
from lrsearch.own_code import call_own, load_target
from lrsearch.parameters.durations import Duration, Length
from lrsearch.parameters.formula import of_step_alone
from lrsearch.text.hints import as_given


@dataclass(frozen=True)
class ScheduleInputs:
    """The inputs of a scheduler: its parameters, the peak rate, and the length of the training."""

    parameters: Mapping[str, Any]
    lr: float
    length: Length
    warmup_steps: int

    def __getitem__(self, name: str) -> Any:
        return self.parameters[name]

    @property
    def steps(self) -> int:
        """Number of optimizer steps after the warm-up."""
        return self.length.steps - self.warmup_steps

    def in_steps(self, value: Any) -> int:
        """A duration in optimizer steps, at least 1."""
        return self.length.in_steps(Duration.parse(value))

    def moment(self, value: Any) -> int:
        """A point in time of the whole training, in steps after the warm-up; at least 0."""
        duration = Duration.parse(value)
        if duration.amount == 0:
            return 0
        return max(0, self.length.in_steps(duration) - self.warmup_steps)


@dataclass(frozen=True)
class StepFunction:
    """A function of the scheduler's step, as Python source in the grammar of `Formula`."""

    source: str

    def __call__(self, step: int) -> float:
        return _compiled(self.source)(step)


@functools.lru_cache(maxsize=256)
def _compiled(source: str) -> Callable[[int], float]:
    """The function of a source."""
    # Not kept on the object: torch writes an object's attributes into the scheduler's state.
    return of_step_alone(source)


@dataclass(frozen=True)
class FactorFunction:
    """A function of the scheduler's step that calls the user's `factor(progress, **arguments)`.

    As in a formula, `progress` is the share of the whole training done, warm-up included:
    `(step + offset) / steps`. A negative factor, or NaN, counts as zero.
    """

    target: str
    """Dotted path of the user's function."""
    arguments: Mapping[str, Any]
    steps: int
    offset: int

    def __call__(self, step: int) -> float:
        # Not kept on the object: torch writes an object's attributes into the scheduler's state.
        function = load_target(self.target, "scheduler")
        progress = (step + self.offset) / self.steps
        factor = call_own(function, self.target, progress, **self.arguments)
        try:
            return max(0.0, float(factor))
        except (TypeError, ValueError):
            raise UserError(
                f"scheduler: {self.target} must return a number, the rate as a share of the "
                f"peak, but for the progress {progress:g} it returns {as_given(factor)}"
            ) from None


@dataclass(frozen=True)
class TorchCall:
    """A torch scheduler and its arguments, to be built or printed as source."""

    scheduler: str
    """A class of torch.optim.lr_scheduler, or the dotted path of a class of the user's own."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    monitor: str | None = None
    """The metric with which it is stepped after each evaluation; None: stepped after each batch."""

    @property
    def is_own(self) -> bool:
        """Whether the class is the user's own, named by a dotted path."""
        return "." in self.scheduler

    @property
    def path(self) -> str:
        """The dotted path of the class."""
        return self.scheduler if self.is_own else f"torch.optim.lr_scheduler.{self.scheduler}"
