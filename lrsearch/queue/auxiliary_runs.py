"""What a worker gives an auxiliary run, and what a stage of a study has to say of its runs.

A stage (the range test, the confirmation) describes each kind of its runs by an `AuxiliaryKind`;
the worker that claims a run knows nothing else of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from lrsearch.queue.auxiliary_claims import AuxiliaryClaim
from lrsearch.queue.endings import Ending

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from lrsearch.checkpoints.store import Checkpoints, Store
    from lrsearch.evaluation import Evaluation
    from lrsearch.objectives.base import Objective
    from lrsearch.settings import Settings

T = TypeVar("T")
Result = Mapping[str, Any]
"""What a run has found, as plain values."""


class Values(Protocol):
    """The values of the metric that a training has reported."""

    @property
    def last(self) -> float | None:
        """The last one."""

    def value(self) -> float | None:
        """The one that counts for the whole training."""


class RunContext(Protocol):
    """One attempt at an auxiliary run, in a worker."""

    @property
    def claim(self) -> AuxiliaryClaim:
        """The run."""

    @property
    def settings(self) -> Settings:
        """Those of the study."""

    @property
    def objective(self) -> Objective:
        """What trains a recipe."""

    @property
    def checkpoints(self) -> Checkpoints:
        """The run's own; written only while the worker owns the run."""

    @property
    def store(self) -> Store:
        """Where weights are kept."""

    @property
    def study_id(self) -> int:
        """The study in the database."""

    @property
    def folder(self) -> str:
        """The study's folder in the store."""

    def owns(self) -> bool:
        """Whether no other worker can have the run: its lease is valid."""

    def should_stop(self) -> bool:
        """Whether to leave the training; called after each step."""

    def progress(self) -> None:
        """Record that the training goes on."""

    def report(self, result: Callable[[], Result]) -> None:
        """Store what has been found so far, after an evaluation.

        During an outage nothing is written: the next report stores all of it. Raises LeaseLost and
        DatabaseRefuses.
        """

    def measured(self, evaluation: Evaluation) -> float | None:
        """The metric's value; None where it counts as the worst.

        Raises UserError where it was not reported, Diverged where it is a loss that is not finite.
        """

    def value_of(self, values: Sequence[float | None]) -> float | None:
        """The value of a training with these values, None before the first.

        Raises NeverANumber where an evaluation without a number counts.
        """

    def attempt(self, train: Callable[[], T], values: Values) -> tuple[Ending, T | None]:
        """Train, and return how that ended and its result."""


@dataclass(frozen=True)
class RunResult:
    """How a run ended and what is stored of it."""

    ending: Ending
    result: Result
    also: Callable[[Session], None] | None = None
    """Writes more, in the transaction in which the run ends."""


class AuxiliaryKind(Protocol):
    """A kind of auxiliary runs."""

    def describe(self, claim: AuxiliaryClaim) -> str:
        """Name a run in a worker's log."""

    def metric_name(self, metric: str) -> str:
        """What the value of a run is, for a study with this metric."""

    def run(self, context: RunContext) -> RunResult:
        """Bring a run to its end."""
