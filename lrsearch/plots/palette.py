"""The colours of all figures, interactive and static: a colour has one meaning everywhere.

Scheduler families have colours, and markers and dashes of their own, so that they can be told apart
without colours as well. Colours of judgement (best, diverged, ...) are never those of a family.
What is neither a family nor a judgement (bars of one kind, losses, fitted curves) is neutral. Each
colour can be seen on white and on black.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable

from lrsearch.schedules.families import SCHEDULERS
from lrsearch.states import Outcome

BEST = "#c79a00"
"""The best, or recommended, trial, and the good end of a scale."""
PLAIN = "#64788c"
"""Values of one kind: bars, validation losses, trials that are not distinguished."""
FAINT = "#9a9a9a"
"""What matters less: training losses, pruned trials, the bad end of a scale."""
INK = "#808080"
"""Fitted curves, axes and text."""
BAND = "rgba(128, 128, 128, 0.2)"
"""Intervals of fitted curves, and shaded regions."""
GRID = "rgba(128, 128, 128, 0.25)"

LEARNED_NOTHING = "#a06a3c"
OUTCOMES: dict[str, str] = {
    Outcome.COMPLETE: PLAIN,
    Outcome.PRUNED: FAINT,
    Outcome.DIVERGED: "#d62f2f",
    Outcome.OUT_OF_MEMORY: "#a8285f",
    Outcome.FAILED: "#d9691f",
    Outcome.CRASHED: "#6e6250",
}
"""Colours by the outcome of a trial."""

BEST_TO_WORST = [[0.0, BEST], [0.5, "#b3a88a"], [1.0, FAINT]]
"""A colour scale of ranks or values, the best at 0."""

FAMILIES = ("#0f74c5", "#12a094", "#5c8f2e", "#8a4fc0", "#d65fa8", "#8c8cf5")
_SYMBOLS = ("circle", "diamond", "square", "triangle-up", "cross", "x", "star")
_DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
# The families of the default sweep come first: each has a colour of its own.
_FIRST = ("cosine", "constant", "step", "linear", "one_cycle", "plateau")
_ORDER = (*_FIRST, *(family for family in SCHEDULERS if family not in _FIRST))


def family_colour(family: str) -> str:
    """The colour of a scheduler family."""
    return FAMILIES[_index(family) % len(FAMILIES)]


def family_symbol(family: str) -> str:
    """The marker of a scheduler family, by Plotly's names.

    Families of one colour have different markers.
    """
    return nth_symbol(_index(family))


def family_dash(family: str) -> str:
    """The line style of a scheduler family, by Plotly's names.

    Families of one colour have different line styles.
    """
    return nth_dash(_index(family) // len(FAMILIES))


def nth_symbol(index: int) -> str:
    """The marker of the series at `index` of those that colours do not distinguish.

    Such are optimizers, and the trials of one family.
    """
    return _SYMBOLS[index % len(_SYMBOLS)]


def nth_dash(index: int) -> str:
    """The line style of the series at `index` of those that colours do not distinguish.

    Such are parameter groups, batch sizes, and the trials of one family.
    """
    return _DASHES[index % len(_DASHES)]


def in_order(families: Iterable[str]) -> list[str]:
    """The distinct names of families in the order of the catalogue, the user's own last.

    Figures, legends and tables name families in this order, which no new trial changes.
    """
    names = [*SCHEDULERS]
    return sorted(
        set(families), key=lambda name: (names.index(name) if name in names else len(names), name)
    )


def _index(family: str) -> int:
    """The number of a scheduler family, which determines its colour, marker and line style."""
    if family in _ORDER:
        return _ORDER.index(family)
    # A scheduler of the user's own looks the same in all figures and studies.
    return len(_ORDER) + zlib.crc32(family.encode()) % (len(FAMILIES) * len(_DASHES) - len(_ORDER))
