"""What the tests of pruning share: trials in a list, and plain answers about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hypothesis import strategies as st

from lrsearch.tuning.pruners.rules import Group, Mode, Running
from lrsearch.tuning.trajectory import LrTrajectory


@dataclass(frozen=True)
class Known:
    """A trial: its values at the moments 1, 2, ..., and whether it ran to its end."""

    values: tuple[float | None, ...]
    complete: bool = False
    bracket: int | None = None


def running(values: Sequence[float], slot: int, trajectory: LrTrajectory) -> Running:
    """A trial that is judged after some of the moments of its trajectory."""
    now = len(values)
    return Running(values, range(1, now + 1), now / trajectory.whole, slot, trajectory)


class KnownPeers:
    """Answers by looking at every trial."""

    def __init__(self, trials: Sequence[Known]) -> None:
        self.trials = trials

    def values(self, group: Group) -> list[float]:
        found = [
            trial.values[group.moment - 1]
            for trial in self.trials
            if len(trial.values) >= group.moment
            and (trial.complete or not group.complete)
            and (group.bracket is None or trial.bracket == group.bracket)
        ]
        return [value for value in found if value is not None]

    def complete(self) -> int:
        return sum(trial.complete for trial in self.trials)

    def count(self, group: Group) -> int:
        return len(self.values(group))

    def ranked(self, group: Group, mode: Mode, first: int, how_many: int) -> list[float]:
        return sorted(self.values(group), reverse=mode == "max")[first : first + how_many]


WHOLE = 10

# Few different numbers make ties; any others show rounding.
VALUES = st.integers(-2, 2).map(float) | st.floats(-1e3, 1e3)
MODES = st.sampled_from(["min", "max"])
HISTORIES = st.lists(VALUES, min_size=1, max_size=WHOLE).map(tuple)
WHOLE_TRIALS = st.lists(
    st.builds(Known, st.lists(VALUES, min_size=WHOLE, max_size=WHOLE).map(tuple), st.just(True)),
    min_size=5,
    max_size=9,
)
TRIALS = st.lists(st.builds(Known, HISTORIES, st.booleans()), max_size=14)
