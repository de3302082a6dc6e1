"""The figure of a confirmation: its runs by seed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lrsearch.analysis.confirmed import value_words
from lrsearch.confirm.result import Candidate, Confirmation
from lrsearch.plots.interactive.style import new_figure, rounded
from lrsearch.plots.palette import BEST, PLAIN, nth_dash, nth_symbol

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_SEARCH = "in the search"


def runs_by_seed(confirmation: Confirmation | None) -> Figure | None:
    """Draw a line per candidate over the seeds, with its mean and interval; None without runs."""
    if confirmation is None or not any(candidate.values for candidate in confirmation.candidates):
        return None
    seeds = list(dict.fromkeys(run.seed for run in confirmation.runs))
    names = {seed: f"seed {number}" for number, seed in enumerate(seeds, 1)}
    figure = new_figure("training", confirmation.metric)
    for index, candidate in enumerate(confirmation.candidates):
        _add(figure, candidate, names, index)
    means = [
        _mean(candidate) for candidate in confirmation.candidates if candidate.estimate is not None
    ]
    figure.update_xaxes(
        type="category", categoryorder="array", categoryarray=[_SEARCH, *names.values(), *means]
    )
    return figure


def _mean(candidate: Candidate) -> str:
    """The category of a candidate's mean: one for each, so that no interval hides another."""
    return f"mean of {candidate.trial}"


def _add(figure: Figure, candidate: Candidate, names: dict[int, str], index: int) -> None:
    """Draw the runs of a candidate, and its mean and interval; `names` are those of the seeds.

    The candidate at index 0 is the likeliest best: it alone has the colour of the best.
    """
    import plotly.graph_objects as go

    label = f"trial {candidate.trial}"
    colour = PLAIN if index else BEST
    known = [
        (name, candidate.values[seed]) for seed, name in names.items() if seed in candidate.values
    ]
    figure.add_trace(
        go.Scatter(
            x=[_SEARCH, *(name for name, _ in known)],
            y=[rounded(candidate.search_value), *(rounded(value) for _, value in known)],
            name=label,
            legendgroup=label,
            mode="lines+markers",
            line={"color": colour, "dash": nth_dash(index), "width": 1.5 if index else 2.5},
            marker={"size": 7, "symbol": nth_symbol(index)},
            hovertemplate=f"{label}, %{{x}}: %{{y}}<extra></extra>",
        )
    )
    if candidate.estimate is None:
        return
    mean, low, high = candidate.estimate.mean, candidate.estimate.low, candidate.estimate.high
    interval = {
        "type": "data",
        "symmetric": False,
        "array": [rounded(high - mean)],
        "arrayminus": [rounded(mean - low)],
    }
    figure.add_trace(
        go.Scatter(
            x=[_mean(candidate)],
            y=[rounded(mean)],
            error_y=interval if candidate.over.is_known else None,
            legendgroup=label,
            showlegend=False,
            mode="markers",
            marker={"color": colour, "size": 10, "symbol": nth_symbol(index)},
            hovertemplate=f"{label}: {value_words(candidate)}<extra></extra>",
        )
    )
