"""The range test of a study, as a worker runs it."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable

from lrsearch.config.settings import Settings
from lrsearch.errors import UserError
from lrsearch.objective import TrainingObjective
from lrsearch.objectives.base import Objective
from lrsearch.range_test.plan import plan_ramps
from lrsearch.range_test.ramp import run_ramps
from lrsearch.range_test.result import RangeTest


def find_ranges(
    settings: Settings, objective: Objective, should_stop: Callable[[], bool]
) -> RangeTest:
    """Runs the ramps of the optimizers whose range is to be found.

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
