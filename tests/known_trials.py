"""What the tests of pruning share: trials in a list, and plain answers about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hypothesis import strategies as st

from lrsearch.tuning.pruners.rules import Group, Mode


@dataclass(frozen=True)
class Known:
    """A trial: its values at the evaluations 1, 2, ..., and whether it ran to its end."""

    values: tuple[float | None, ...]
    complete: bool = False
    bracket: int | None = None


class KnownPeers:
    """Answers by looking at every trial."""

    def __init__(self, trials: Sequence[Known]) -> None:
        self.trials = trials

    def values(self, group: Group) -> list[float]:
        found = [
            trial.values[group.evaluation - 1]
            for trial in self.trials
            if len(trial.values) >= group.evaluation
            and (trial.complete or not group.complete)
            and (group.bracket is None or trial.bracket == group.bracket)
        ]
        return [value for value in found if value is not None]

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
