"""Figures of the comparisons at equal tuning: values by option, and a heat map."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lrsearch.analysis.equal_tuning import Interval
from lrsearch.analysis.families import ALL, Comparison, EqualTuning, Option
from lrsearch.plots.interactive.style import (
    colour,
    log_axis,
    new_figure,
    ordered,
    rounded,
    symbol,
    wants_log,
)
from lrsearch.plots.palette import BEST_TO_WORST, INK, PLAIN
from lrsearch.text.formatting import number, plural

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_MOST_BOXED = 200
"""The most values of an option that are drawn."""
_MOST_ROWS = 30
_MOST_TEXTS = 6
"""The most columns of a heat map that has its numbers in the cells: more are too narrow."""


def option_boxes(found: EqualTuning | None) -> Figure | None:
    """Draw the values of each option, and its expected best with its interval.

    Those of the comparisons that compare something come first where all would be too many. None if
    no trial is complete, and of one optimizer alone.
    """
    import plotly.graph_objects as go

    rows = _rows(found) if found else []
    if not found or not rows or (found.noun == "optimizer" and len(rows) < 2):
        return None
    figure = new_figure(f"{found.metric.name} of complete trials", found.noun, showlegend=False)
    for comparison, option in rows[::-1]:
        step = max(1, len(option.values) // _MOST_BOXED)
        is_scheduler = found.noun == "scheduler"
        figure.add_trace(
            go.Box(
                x=[rounded(value) for value in option.values[::step]],
                name=_label(comparison, option),
                orientation="h",
                boxpoints="all" if len(option.values) <= 100 else "outliers",
                pointpos=0,
                jitter=0.5,
                marker={
                    "color": colour(option.name) if is_scheduler else PLAIN,
                    "symbol": symbol(option.name) if is_scheduler else "circle",
                    "size": 4,
                },
                line={"width": 1.5},
                hoverinfo="x+name",
            )
        )
    values = [value for _, option in rows for value in option.values]
    expected = [
        (_label(comparison, option), option.expected)
        for comparison, option in rows
        if option.expected
    ]
    if expected:
        figure.add_trace(
            go.Scatter(
                x=[rounded(interval.value) for _, interval in expected],
                y=[name for name, _ in expected],
                error_x={
                    "type": "data",
                    "symmetric": False,
                    "array": [_reach(interval, values)[1] for _, interval in expected],
                    "arrayminus": [_reach(interval, values)[0] for _, interval in expected],
                    "color": INK,
                },
                customdata=[
                    f"{number(interval.low)} to {number(interval.high)}" for _, interval in expected
                ],
                mode="markers",
                marker={"symbol": "line-ns", "size": 22, "line": {"width": 3, "color": INK}},
                hovertemplate="expected best: %{x}<br>95 % interval: %{customdata}<extra></extra>",
            )
        )
    if wants_log(values):
        figure.update_xaxes(log_axis(values))
    figure.update_yaxes(type="category")
    figure.update_layout(height=max(260, 90 + 44 * len(rows)))
    return figure


def heat_map(found: EqualTuning | None) -> Figure | None:
    """Draw the expected best of each optimizer with each scheduler.

    None unless there are two of each.
    """
    import plotly.graph_objects as go

    cells = {(cell.optimizer, cell.scheduler): cell for cell in found.cells} if found else {}
    schedulers = ordered(scheduler for _, scheduler in cells)
    optimizers = sorted({optimizer for optimizer, _ in cells})
    if not found or min(len(schedulers), len(optimizers)) < 2:
        return None
    sign = 1.0 if found.metric.mode == "min" else -1.0
    values = sorted(sign * cell.expected for cell in cells.values())
    known = [[cells.get((o, s)) for o in optimizers] for s in schedulers[::-1]]
    figure = new_figure("optimizer", "scheduler")
    figure.add_trace(
        go.Heatmap(
            x=optimizers,
            y=schedulers[::-1],
            z=[
                [
                    None
                    if cell is None
                    else rounded(100 * values.index(sign * cell.expected) / (len(values) - 1), 3)
                    for cell in row
                ]
                for row in known
            ],
            text=[[number(cell.expected, 3) if cell else "" for cell in row] for row in known],
            customdata=[[plural(cell.tries, "trial") if cell else "" for cell in row]
                        for row in known],
            texttemplate="%{text}" if len(optimizers) <= _MOST_TEXTS else None,
            colorscale=BEST_TO_WORST,
            zmin=0,
            zmax=100,
            xgap=2,
            ygap=2,
            colorbar={"title": {"text": "place, % (0 best)", "side": "right"}, "thickness": 12},
            hovertemplate="%{x}, %{y}: %{text}<br>%{customdata}<extra></extra>",
            hoverongaps=False,
        )
    )  # fmt: skip
    figure.update_xaxes(type="category", showgrid=False)
    figure.update_yaxes(type="category", showgrid=False)
    figure.update_layout(height=max(260, 130 + 28 * len(schedulers)))
    return figure


def _rows(found: EqualTuning) -> list[tuple[Comparison, Option]]:
    """Return the options that are drawn, in the order of the comparisons."""
    every = [
        (comparison, option)
        for comparison in found.comparisons
        for option in comparison.options
        if option.values
    ]
    if len(every) > _MOST_ROWS:
        every = [(comparison, option) for comparison, option in every if option.expected]
    return every[:_MOST_ROWS]


def _label(comparison: Comparison, option: Option) -> str:
    alone = comparison.within in (None, ALL)
    return option.name if alone else f"{comparison.within}, {option.name}"


def _reach(interval: Interval, values: list[float]) -> tuple[float | None, float | None]:
    """Return how far an interval reaches to either side, within the values that are drawn."""
    low, high = max(interval.low, min(values)), min(interval.high, max(values))
    return rounded(max(0.0, interval.value - low)), rounded(max(0.0, high - interval.value))
