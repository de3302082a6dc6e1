"""Figures of findings: importance, positions in ranges, and epochs spent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lrsearch.analysis.edges import NEAR, Edges
from lrsearch.analysis.importance import Importance
from lrsearch.analysis.spent import Spent
from lrsearch.plots.interactive.style import (
    new_figure,
    rounded,
)
from lrsearch.plots.palette import BAND, BEST, OUTCOMES, PLAIN
from lrsearch.states import in_words
from lrsearch.text.formatting import plural

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_MOST_BARS = 15


def importance_bars(importance: Importance) -> Figure | None:
    """Draw one bar per parameter, the most important on top; None without shares."""
    import plotly.graph_objects as go

    if not importance.shares:
        return None
    shown = importance.shares[:_MOST_BARS][::-1]
    figure = new_figure("share of importance (%)", "parameter", showlegend=False)
    figure.add_trace(
        go.Bar(
            x=[rounded(100 * share, 3) for _, share in shown],
            y=[name for name, _ in shown],
            orientation="h",
            marker={"color": PLAIN},
            hovertemplate="%{y}: %{x} %<extra></extra>",
        )
    )
    figure.update_yaxes(type="category")
    figure.update_layout(height=max(260, 90 + 24 * len(shown)))
    return figure


def range_places(edges: Edges) -> Figure | None:
    """Draw the positions of the best trials in the range of each parameter.

    The outer 10 % at both ends are shaded. None if no parameter has a range.
    """
    import plotly.graph_objects as go

    if not edges.places:
        return None
    figure = new_figure("place in range (0 to 1)", "parameter")
    rows = edges.places[::-1]
    further = [(place, name) for name, places in rows for place in places[1:]]
    for label, points, marker in (
        ("next best", further, {"color": PLAIN, "size": 8, "symbol": "circle-open"}),
        ("best trial", [(places[0], name) for name, places in rows],
         {"color": BEST, "size": 12, "symbol": "diamond"}),
    ):  # fmt: skip
        if not points:
            continue
        figure.add_trace(
            go.Scatter(
                x=[rounded(place, 3) for place, _ in points],
                y=[name for _, name in points],
                name=label,
                mode="markers",
                marker=marker,
                hovertemplate="%{y}: %{x}<extra></extra>",
            )
        )
    for low, high in ((0, NEAR), (1 - NEAR, 1)):
        figure.add_vrect(low, high, fillcolor=BAND, line_width=0)
    figure.update_xaxes(range=[-0.03, 1.03])
    figure.update_yaxes(type="category")
    figure.update_layout(height=max(260, 110 + 28 * len(rows)))
    return figure


def spent_bars(spent: Spent) -> Figure | None:
    """Draw the epochs trained by outcome, and those saved by pruning; None without ended trials."""
    import plotly.graph_objects as go

    if not spent.outcomes:
        return None
    figure = new_figure("epochs", "outcome of the trials", showlegend=False)
    shades = {in_words(outcome): shade for outcome, shade in OUTCOMES.items()}
    counts = dict(spent.outcomes)
    rows = [
        (name, epochs, shades[name], plural(counts[name], "trial")) for name, epochs in spent.epochs
    ]
    if spent.pruned_epochs > 0:
        rows.append(("saved by pruning", spent.pruned_epochs, BAND, ""))
    rows.reverse()
    figure.add_trace(
        go.Bar(
            x=[rounded(epochs) for _, epochs, _, _ in rows],
            y=[name for name, _, _, _ in rows],
            text=[note for _, _, _, note in rows],
            textposition="auto",
            orientation="h",
            marker={"color": [shade for _, _, shade, _ in rows]},
            hovertemplate="%{y}: %{x} epochs<extra></extra>",
        )
    )
    figure.update_yaxes(type="category")
    figure.update_layout(height=max(220, 90 + 34 * len(rows)))
    return figure
