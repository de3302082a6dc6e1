"""The style of all interactive figures: colours that the colour-blind can distinguish, axes."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from lrsearch.schedules.families import SCHEDULERS
from lrsearch.states import Outcome

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

# After Okabe and Ito 2008, "Color Universal Design", each visible on white and on black.
GREY, ORANGE, OLIVE, SKY, BLUE, VERMILLION, GREEN, WINE, PINK = (
    "#8c8c8c", "#d98e00", "#8f8f2f", "#3b9fdb", "#1a78b8", "#d55e00", "#009e73", "#b04a8f",
    "#cc79a7",
)  # fmt: skip
# The order gives the scheduler families of the default sweep clearly different colours.
_PALETTE = (GREY, ORANGE, OLIVE, SKY, BLUE, VERMILLION, GREEN, WINE, PINK)
_PLACES = {family: place for place, family in enumerate(SCHEDULERS)}
_SYMBOLS = ("circle", "diamond", "square")
_DASHES = ("solid", "dash", "dot")
_MANY_DECADES = 100
_FEW_STEPS = 4
_MOST_TICKS = 8
INK = "#808080"
GRID = "rgba(128, 128, 128, 0.25)"

BEST_TO_WORST = [[0.0, "#e3b505"], [0.5, GREY], [1.0, BLUE]]
"""A colour scale from yellow to blue, visible on white and on black."""

OUTCOME_COLOURS: dict[str, str] = {
    Outcome.COMPLETE: GREEN,
    Outcome.PRUNED: SKY,
    Outcome.DIVERGED: VERMILLION,
    Outcome.OUT_OF_MEMORY: PINK,
    Outcome.FAILED: ORANGE,
    Outcome.CRASHED: GREY,
}


def colour(family: str) -> str:
    """The colour of a scheduler family, the same in every figure."""
    return _PALETTE[_index(family) % len(_PALETTE)]


def symbol(family: str) -> str:
    """The marker of a scheduler family, which distinguishes families of the same colour."""
    return _SYMBOLS[_index(family) // len(_PALETTE)]


def dash(family: str) -> str:
    """The line style of a scheduler family, which distinguishes families of the same colour."""
    return _DASHES[_index(family) // len(_PALETTE)]


def candidate_colour(index: int) -> str:
    """The colour of the candidate at `index` of a confirmation, vivid colours first."""
    vivid = (BLUE, ORANGE, GREEN, WINE, SKY, VERMILLION, OLIVE, PINK, GREY)
    return vivid[index % len(vivid)]


def _index(family: str) -> int:
    """The number of a scheduler family, which determines its colour and marker."""
    if family in SCHEDULERS:
        return [*SCHEDULERS].index(family)
    # A scheduler of the user's own: the same in all figures, after those of the catalogue.
    return len(SCHEDULERS) + zlib.crc32(family.encode()) % (
        len(_PALETTE) * len(_SYMBOLS) - len(SCHEDULERS)
    )


def ordered(families: Iterable[str]) -> list[str]:
    """The distinct names of families, in the order of the catalogue."""
    return sorted(set(families), key=_index)


def new_figure(x: str, y: str, **layout: Any) -> Figure:
    """Create an empty figure with axis titles, legible on white and on black."""
    import plotly.graph_objects as go

    axis = {
        "gridcolor": GRID,
        "zeroline": False,
        "linecolor": INK,
        "automargin": True,
        "exponentformat": "power",  # 10⁻⁴, not 100µ
        "title": {"standoff": 8},
    }
    template = go.layout.Template(
        layout={
            "font": {"color": INK, "family": "system-ui, sans-serif", "size": 13},
            "paper_bgcolor": "rgba(0, 0, 0, 0)",
            "plot_bgcolor": "rgba(0, 0, 0, 0)",
            "xaxis": axis,
            "yaxis": axis,
            "margin": {"l": 56, "r": 16, "t": 24, "b": 48},
            "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0},
            "hovermode": "closest",
            "colorway": list(_PALETTE),
        }
    )
    figure = go.Figure(layout={"template": template, **layout})
    figure.update_xaxes(title_text=x)
    figure.update_yaxes(title_text=y)
    return figure


def rounded(value: float | None, digits: int = 4) -> float | None:
    """Round to significant digits, to keep pages small; None for a missing or non-finite value."""
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.{digits}g}")


def log_axis(values: Iterable[float | None]) -> dict[str, Any]:
    """A log axis for these values: ticks at powers of ten, or at labelled steps between them."""
    known = [value for value in values if value is not None and math.isfinite(value) and value > 0]
    if not known:
        return {"type": "log"}
    low, high = min(known), max(known)
    if high / low >= _MANY_DECADES:
        decades = math.log10(high / low)
        return {"type": "log", "dtick": math.ceil(decades / _MOST_TICKS)}
    steps = (1, 2, 5) if high / low >= _FEW_STEPS else (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8)
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    ticks = [
        tick
        for power in range(first, last + 1)
        for step in steps
        if low / 1.5 <= (tick := float(f"{step}e{power}")) <= high * 1.5
    ]
    return {"type": "log", "tickvals": ticks, "ticktext": [f"{tick:g}" for tick in ticks]}


def wants_log(values: Iterable[float | None]) -> bool:
    """Whether values are better drawn on a log axis: positive, and over more than a decade."""
    known = [value for value in values if value is not None and math.isfinite(value)]
    return bool(known) and min(known) > 0 and max(known) / min(known) > 10
