"""Display of the range test that a sweep begins with: its plan, and the ranges it has found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from lrsearch.data.spec import DataInfo
from lrsearch.launchers.base import Display
from lrsearch.range_test.stored import found_ranges
from lrsearch.settings import Settings
from lrsearch.states import Outcome, RunKind
from lrsearch.storage.database import Database
from lrsearch.study.progress import Finished, Snapshot
from lrsearch.study.study import load_row

if TYPE_CHECKING:
    from lrsearch.range_test.plan import RampPlan


def range_test_plan(settings: Settings, info: DataInfo | None) -> RampPlan | None:
    """Return the plan of the range test before the first trial; None where no rate is `auto`.

    Raises UserError where a trial is too short for it.
    """
    if info is None or not settings.space.to_find:
        return None
    from lrsearch.range_test.plan import plan_ramps

    return plan_ramps(settings, info.n_train, list(settings.space.to_find.values()))


def plan_line(plan: RampPlan) -> str:
    """Describe the plan in one line."""
    from lrsearch.analysis.rate_ranges import plan_sentence

    return f"a range test comes first: {plan_sentence(plan)}"


class RangeTestDisplay:
    """A display that also reports, once, the ranges that the range test has found."""

    def __init__(self, display: Display, database: Database, name: str) -> None:
        self.interval = display.interval
        self._display, self._database, self._name = display, database, name
        self._is_reported = False

    def update(self, snapshot: Snapshot, new: list[Finished]) -> None:
        done = (
            run.kind == RunKind.RANGE_TEST and run.outcome == Outcome.COMPLETE
            for run in snapshot.auxiliary_runs
        )
        if not self._is_reported and any(done):
            self._is_reported = True
            ranges_by_name = found_ranges(load_row(self._database, self._name).record)
            if ranges_by_name:
                ranges = (
                    f"{name} {ends['low']:g} to {ends['high']:g}"
                    for name, ends in ranges_by_name.items()
                )
                self.say(f"the range test has found: {', '.join(ranges)}")
        self._display.update(snapshot, new)

    def say(self, line: str) -> None:
        self._display.say(line)

    def __enter__(self) -> Self:
        self._display.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._display.__exit__(*error)
