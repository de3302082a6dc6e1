"""The range test of a study, as a worker brings it to its end."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable

from lrsearch.errors import UserError
from lrsearch.objectives.base import Objective
from lrsearch.objectives.builtin import TrainingObjective
from lrsearch.queue.auxiliary_claims import AuxiliaryClaim
from lrsearch.queue.auxiliary_runs import RunContext, RunResult
from lrsearch.queue.endings import Ending
from lrsearch.range_test.plan import plan_ramps
from lrsearch.range_test.ramp import run_ramps
from lrsearch.range_test.result import RangeTest
from lrsearch.range_test.stored import keep_ranges
from lrsearch.settings import Settings
from lrsearch.states import Outcome


class RangeTestRun:
    """The ranges of learning rates, found before the first trial.

    Interrupted, it begins anew: it is short, and has no checkpoints.
    """

    def describe(self, claim: AuxiliaryClaim) -> str:
        """Name a run in a worker's log."""
        return "range test"

    def metric_name(self, metric: str) -> str:
        """The study's metric; a range test has no value of it."""
        return metric

    def run(self, context: RunContext) -> RunResult:
        """Find the ranges, and keep them in the study's row, where readers of its space look."""
        unclear: list[UserError] = []

        def find() -> RangeTest:
            try:
                return find_ranges(context.settings, context.objective, context.should_stop)
            except UserError as error:
                unclear.append(error)
                raise

        ending, test = context.attempt(find, _NoValues())
        if unclear:  # no traceback is needed
            return RunResult(Ending(Outcome.FAILED, reason=str(unclear[0])), {})
        if test is None or ending.outcome != Outcome.COMPLETE:
            return RunResult(ending, {})
        plain = test.to_json()
        return RunResult(ending, {}, lambda session: keep_ranges(session, context.study_id, plain))


class _NoValues:
    """A range test has no value of the metric."""

    last = None

    def value(self) -> None:
        """None."""


def find_ranges(
    settings: Settings, objective: Objective, should_stop: Callable[[], bool]
) -> RangeTest:
    """Run the ramps of the optimizers whose range is to be found.

    Raises Stopped, and UserError where a range cannot be told.
    """
    assert isinstance(objective, TrainingObjective), "only its trainings have `auto`"
    started = time.perf_counter()
    to_find = settings.space.to_find
    plan = plan_ramps(settings, objective.n_train, list(to_find.values()))
    ramps = tuple(run_ramps(objective, plan, should_stop))
    seconds = time.perf_counter() - started
    test = RangeTest(ramps, plan.trial_samples, seconds, settings.space.coupling, {})
    found = {name: test.suggested(optimizer) for name, optimizer in to_find.items()}
    if silent := [to_find[name] for name, one in found.items() if one is None]:
        raise UserError(
            f"the loss of {', '.join(silent)} falls at no learning rate within a ramp: give "
            f"a range instead of `auto`, such as {{low: 1e-4, high: 1.0, log: true}}"
        )
    ranges = {name: one.to_dict() for name, one in found.items() if one is not None}
    return dataclasses.replace(test, ranges=ranges)
