"""The layout and the axes of all interactive figures; the colours are those of `palette`."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from lrsearch.plots.palette import (
    FAMILIES,
    GRID,
    INK,
    family_colour,
    family_dash,
    family_symbol,
    in_order,
)
from lrsearch.plots.ticks import log_ticks, tick_label

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

colour, symbol, dash, ordered = family_colour, family_symbol, family_dash, in_order


def new_figure(x: str, y: str, **layout: Any) -> Figure:
    """Create an empty figure with axis titles, legible on white and on black."""
    import plotly.graph_objects as go

    axis = {
        "gridcolor": GRID,
        "zeroline": False,
        "linecolor": INK,
        "automargin": True,
        "exponentformat": "e",  # 1e-4, not 100µ
        "minexponent": 4,
        "separatethousands": True,
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
            "colorway": list(FAMILIES),
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
    """A logarithmic axis for these values, with the ticks of `log_ticks`."""
    ticks = log_ticks(values)
    if not ticks:
        return {"type": "log"}
    return {"type": "log", "tickvals": ticks, "ticktext": [tick_label(tick) for tick in ticks]}


def wants_log(values: Iterable[float | None]) -> bool:
    """Whether values are better drawn on a log axis: positive, and over more than a decade."""
    known = [value for value in values if value is not None and math.isfinite(value)]
    return bool(known) and min(known) > 0 and max(known) / min(known) > 10
