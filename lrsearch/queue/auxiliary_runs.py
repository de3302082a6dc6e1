"""Interfaces between workers and the auxiliary runs of a study's stages.

A stage (the range test, the confirmation) implements each kind of its runs as an `AuxiliaryKind`;
a worker offers it a `RunContext`.
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
"""Result of a run as plain values, stored as JSON."""


class Values(Protocol):
    """The values of the metric that a training has reported."""

    @property
    def last(self) -> float | None:
        """Latest value; None where there is none."""

    @property
    def remark(self) -> str | None:
        """Why the training has ended before its planned length; None where it has not."""

    def value(self) -> float | None:
        """Return the value of the whole training."""

    def again(self, why: str) -> None:
        """Take what was reported as an earlier attempt's: the training begins again."""


class RunContext(Protocol):
    """One attempt at an auxiliary run, in a worker."""

    @property
    def claim(self) -> AuxiliaryClaim:
        """The claimed run."""

    @property
    def settings(self) -> Settings:
        """Settings of the study."""

    @property
    def objective(self) -> Objective:
        """The objective, which trains a recipe."""

    @property
    def checkpoints(self) -> Checkpoints:
        """Checkpoints of the run; they are written only while the worker owns the run."""

    @property
    def store(self) -> Store:
        """The store of weights."""

    @property
    def study_id(self) -> int:
        """Id of the study in the database."""

    @property
    def folder(self) -> str:
        """Folder of the study in the store."""

    def owns(self) -> bool:
        """Return whether no other worker can have the run: its lease is valid."""

    def should_stop(self) -> bool:
        """Return whether to leave the training; called after each step."""

    def progress(self) -> None:
        """Record that the training goes on."""

    def report(self, result: Callable[[], Result]) -> None:
        """Store the whole result so far, after an evaluation.

        During an outage nothing is written; the next report stores it. Raises LeaseLost and
        DatabaseRefuses.
        """

    def measured(self, evaluation: Evaluation) -> float | None:
        """Return the metric's value; None where it counts as the worst.

        Raises UserError where it was not reported, Diverged where it is a loss that is not finite.
        """

    def value_of(self, values: Sequence[float | None]) -> float | None:
        """Return the value of a training from those of its evaluations; None before the first.

        Raises NoFiniteValue where the evaluation that counts has no finite value.
        """

    def attempt(self, train: Callable[[], T], values: Values) -> tuple[Ending, T | None]:
        """Train; return the ending and what `train` returned."""


@dataclass(frozen=True)
class RunResult:
    """Ending of a run, and the result to be stored."""

    ending: Ending
    result: Result
    also: Callable[[Session], None] | None = None
    """Called in the transaction in which the run ends, to write more."""


class AuxiliaryKind(Protocol):
    """A kind of auxiliary run, such as the range test."""

    def describe(self, claim: AuxiliaryClaim) -> str:
        """Name a run in a worker's log."""

    def metric_name(self, metric: str) -> str:
        """Return the name of a run's value, for a study with this metric."""

    def run(self, context: RunContext) -> RunResult:
        """Run it to its end. Raises what `RunContext.attempt` raises."""
