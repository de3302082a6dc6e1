"""The range test of a study, as an auxiliary run of a worker."""

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
    """Find ranges of learning rates before the first trial.

    An interrupted range test starts again: it is short, and has no checkpoints.
    """

    def describe(self, claim: AuxiliaryClaim) -> str:
        """Name a run in a worker's log."""
        return "range test"

    def metric_name(self, metric: str) -> str:
        """Return the study's metric, of which a range test has no value."""
        return metric

    def run(self, context: RunContext) -> RunResult:
        """Find the ranges, and write them into the study's row, its space included."""
        refusals: list[UserError] = []

        def find() -> RangeTest:
            try:
                return find_ranges(context.settings, context.objective, context.should_stop)
            except UserError as error:
                refusals.append(error)
                raise

        ending, test = context.attempt(find, _NoValues())
        if refusals:  # the message says all: leave out the traceback
            return RunResult(Ending(Outcome.FAILED, reason=str(refusals[0])), {})
        if test is None or ending.outcome != Outcome.COMPLETE:
            return RunResult(ending, {})
        plain = test.to_json()
        return RunResult(ending, {}, lambda session: keep_ranges(session, context.study_id, plain))


class _NoValues:
    """The `Values` of a range test, which has none of the metric."""

    last = None
    remark = None

    def value(self) -> None:
        """Return None."""

    def again(self, why: str) -> None:
        """Do nothing: there are no values to drop."""


def find_ranges(
    settings: Settings, objective: Objective, should_stop: Callable[[], bool]
) -> RangeTest:
    """Run the ramps of all optimizers whose range is `auto`, and suggest a range for each.

    Raises Stopped, and UserError where the loss of an optimizer falls at no rate.
    """
    assert isinstance(objective, TrainingObjective), "only the built-in training allows `auto`"
    started = time.perf_counter()
    to_find = settings.space.to_find
    plan = plan_ramps(settings, objective.n_train, list(to_find.values()))
    ramps = tuple(run_ramps(objective, plan, should_stop))
    seconds = time.perf_counter() - started
    test = RangeTest(ramps, plan.trial_samples, seconds, settings.space.coupling, {})
    suggested = {name: test.suggested(optimizer) for name, optimizer in to_find.items()}
    if failed := [to_find[name] for name, range_ in suggested.items() if range_ is None]:
        raise UserError(
            f"the loss of {', '.join(failed)} falls at no learning rate within a ramp: give "
            f"a range instead of `auto`, such as {{low: 1e-4, high: 1.0, log: true}}"
        )
    ranges = {name: range_.to_dict() for name, range_ in suggested.items() if range_ is not None}
    return dataclasses.replace(test, ranges=ranges)
