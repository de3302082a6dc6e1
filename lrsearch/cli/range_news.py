"""What the screen says of the range test that a sweep begins with."""

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
    """What is done before any trial where rates are to be found; None where there are none.

    Raises UserError where a trial is too short for it.
    """
    if info is None or not settings.space.to_find:
        return None
    from lrsearch.range_test.plan import plan_ramps

    return plan_ramps(settings, info.n_train, list(settings.space.to_find.values()))


def plan_line(plan: RampPlan) -> str:
    """In plain words."""
    from lrsearch.analysis.rate_ranges import plan_sentence

    return f"a range test comes first: {plan_sentence(plan)}"


class RangeTestDisplay:
    """A display that also says, once, which ranges the study's range test has found."""

    def __init__(self, display: Display, database: Database, name: str) -> None:
        self.interval = display.interval
        self._display, self._database, self._name = display, database, name
        self._told = False

    def update(self, snapshot: Snapshot, new: list[Finished]) -> None:
        done = (
            one.kind == RunKind.RANGE_TEST and one.outcome == Outcome.COMPLETE
            for one in snapshot.side_runs
        )
        if not self._told and any(done):
            self._told = True
            found = found_ranges(load_row(self._database, self._name).record)
            if found:
                ranges = (
                    f"{name} {one['low']:g} to {one['high']:g}" for name, one in found.items()
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
