"""The runs of a confirmation, by seed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lrsearch.confirm.result import Candidate, Confirmation
from lrsearch.figures.style import candidate_colour, new_figure, rounded
from lrsearch.formatting import number

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_SEARCH = "in the search"


def runs_by_seed(found: Confirmation | None) -> Figure | None:
    """A line a candidate over the seeds, then its mean and interval; None before there are runs."""
    if found is None or not any(one.values for one in found.candidates):
        return None
    seeds = list(dict.fromkeys(run.seed for run in found.runs))
    names = {seed: f"seed {place}" for place, seed in enumerate(seeds, 1)}
    figure = new_figure("training", found.metric)
    for place, one in enumerate(found.candidates):
        _add(figure, one, names, candidate_colour(place))
    means = [_mean(one) for one in found.candidates if one.estimate is not None]
    figure.update_xaxes(
        type="category", categoryorder="array", categoryarray=[_SEARCH, *names.values(), *means]
    )
    return figure


def _mean(one: Candidate) -> str:
    """Where its mean stands: side by side, so that no interval hides another."""
    return f"mean of {one.trial}"


def _add(figure: Figure, one: Candidate, names: dict[int, str], colour: str) -> None:
    import plotly.graph_objects as go

    label = f"trial {one.trial}"
    known = [(name, one.values[seed]) for seed, name in names.items() if seed in one.values]
    figure.add_trace(
        go.Scatter(
            x=[_SEARCH, *(name for name, _ in known)],
            y=[rounded(one.found), *(rounded(value) for _, value in known)],
            name=label,
            legendgroup=label,
            mode="lines+markers",
            line={"color": colour, "width": 1.5},
            marker={"size": 7},
            hovertemplate=f"{label}, %{{x}}: %{{y}}<extra></extra>",
        )
    )
    if one.estimate is None:
        return
    mean, low, high = one.estimate.mean, one.estimate.low, one.estimate.high
    figure.add_trace(
        go.Scatter(
            x=[_mean(one)],
            y=[rounded(mean)],
            error_y={
                "type": "data",
                "symmetric": False,
                "array": [rounded(high - mean)],
                "arrayminus": [rounded(mean - low)],
            },
            legendgroup=label,
            showlegend=False,
            mode="markers",
            marker={"color": colour, "size": 10, "symbol": "diamond"},
            hovertemplate=f"{label}: {number(mean)} ({number(low)} to {number(high)})"
            "<extra></extra>",
        )
    )
