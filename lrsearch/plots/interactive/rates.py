"""Figures of trials by learning rate: the metric, the map with batch sizes, and divergence."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from lrsearch.analysis.basin import TOLERANCE, Basins
from lrsearch.analysis.frontier import Frontier
from lrsearch.analysis.scaling import Scaling
from lrsearch.analysis.study_data import StudyData, TrialData
from lrsearch.plots.interactive.style import (
    colour,
    log_axis,
    new_figure,
    ordered,
    rounded,
    symbol,
    wants_log,
)  # fmt: skip
from lrsearch.plots.palette import BEST_TO_WORST, INK, LEARNED_NOTHING, OUTCOMES
from lrsearch.recipe import Recipe
from lrsearch.states import Outcome
from lrsearch.text.formatting import number

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_JITTER = 0.09
_MOST_SIZES = 12


def loss_against_rate(study: StudyData, basins: Basins) -> Figure | None:
    """Draw the metric over the peak learning rate, coloured by scheduler.

    Bars show the basins, where values are within 5 % of the best. None if no trial is complete or
    the rate was fixed.
    """
    import plotly.graph_objects as go

    complete = [(t, t.recipe) for t in study.ranked if t.recipe is not None]
    if not complete or basins.fixed is not None:
        return None
    figure = new_figure("learning rate (peak)", study.metric.name)
    values = [trial.value for trial, _ in complete]
    for family in ordered(recipe.scheduler.name for _, recipe in complete):
        members = [(t, r) for t, r in complete if r.scheduler.name == family]
        figure.add_trace(
            go.Scatter(
                x=[rounded(recipe.lr) for _, recipe in members],
                y=[rounded(trial.value) for trial, _ in members],
                customdata=[[t.number, r.optimizer.name, r.batch_size] for t, r in members],
                name=family,
                mode="markers",
                marker={"color": colour(family), "symbol": symbol(family), "size": 7,
                        "opacity": 0.8},
                hovertemplate="trial %{customdata[0]}, " + family + ", %{customdata[1]}, batch "
                "%{customdata[2]}<br>rate %{x}: %{y}<extra></extra>",
            )
        )  # fmt: skip
    reach = TOLERANCE if study.metric.mode == "min" else -TOLERANCE
    for basin in basins.rows:
        if basin.by == "scheduler" and basin.width is not None:
            figure.add_trace(
                go.Scatter(
                    x=[rounded(basin.low), rounded(basin.high)],
                    y=[rounded(basin.best + reach * abs(basin.best))] * 2,
                    mode="lines",
                    line={"color": colour(basin.group), "width": 5},
                    opacity=0.5,
                    showlegend=False,
                    hovertemplate=f"within 5 % of the best: {basin.optimizer} with {basin.group}, "
                    f"a factor of {number(basin.width, 2)}<extra></extra>",
                )
            )
    figure.update_xaxes(log_axis(recipe.lr for _, recipe in complete))
    if wants_log(values):
        figure.update_yaxes(log_axis(values))
    return figure


def rate_and_batch_map(study: StudyData, scaling: Scaling) -> Figure | None:
    """Draw complete trials by batch size and learning rate, coloured by rank, and the fitted lines.

    None if no trial is complete.
    """
    import plotly.graph_objects as go

    complete = [(t, t.recipe) for t in study.ranked if t.recipe is not None]
    if not complete:
        return None
    figure = new_figure("batch size (samples a step)", "learning rate (peak)")
    symbols = ("circle", "diamond", "square", "cross", "x", "triangle-up", "star", "hexagon")
    optimizers = sorted({recipe.optimizer.name for _, recipe in complete})
    last = max(1, len(complete) - 1)
    for k, optimizer in enumerate(optimizers):
        members = [
            (rank, t, r) for rank, (t, r) in enumerate(complete) if r.optimizer.name == optimizer
        ]
        figure.add_trace(
            go.Scatter(
                x=[_jittered(trial, recipe) for _, trial, recipe in members],
                y=[rounded(recipe.lr) for _, _, recipe in members],
                customdata=[[t.number, r.batch_size, rounded(t.value)] for _, t, r in members],
                name=optimizer,
                mode="markers",
                marker={
                    "symbol": symbols[k % len(symbols)],
                    "size": 9,
                    "color": [rounded(100 * rank / last, 3) for rank, _, _ in members],
                    "cmin": 0,
                    "cmax": 100,
                    "colorscale": BEST_TO_WORST,
                    "showscale": k == 0,
                    "colorbar": {"title": {"text": "place, % (0 best)", "side": "right"},
                                 "thickness": 12},
                    "line": {"color": "rgba(128, 128, 128, 0.6)", "width": 0.8},
                },
                hovertemplate="trial %{customdata[0]}, " + optimizer + "<br>batch %{customdata[1]}"
                ", rate %{y}: %{customdata[2]}<extra></extra>",
            )
        )  # fmt: skip
    for fit in scaling.fits:
        sizes = [size for size, _, _ in fit.points]
        figure.add_trace(
            go.Scatter(
                x=[sizes[0], sizes[-1]],
                y=[rounded(fit.rate(sizes[0])), rounded(fit.rate(sizes[-1]))],
                mode="lines",
                name=f"{fit.optimizer}: exponent {fit.exponent:.2f} "
                f"({fit.low:.2f} to {fit.high:.2f})",
                line={"color": INK, "width": 2.5},
            )
        )
    figure.update_xaxes(_size_axis({recipe.batch_size for _, recipe in complete}))
    figure.update_yaxes(log_axis(recipe.lr for _, recipe in complete))
    return figure


def divergence(study: StudyData, frontier: Frontier) -> Figure | None:
    """Draw which trials trained, learned nothing or diverged, by batch size and learning rate.

    None if all of them trained.
    """
    import plotly.graph_objects as go

    if not frontier.diverged and not frontier.nothing:
        return None
    figure = new_figure("batch size (samples a step)", "learning rate (peak)")
    kinds = {
        "survived": (OUTCOMES[Outcome.COMPLETE], "circle-open"),
        "learned nothing": (LEARNED_NOTHING, "triangle-down"),
        "diverged": (OUTCOMES[Outcome.DIVERGED], "x"),
    }
    sizes: set[int] = set()
    rates: list[float] = []
    for name, (shade, marker) in kinds.items():
        members = [(t, t.recipe) for t in study.trials if t.recipe and _fate(t, frontier) == name]
        if not members:
            continue
        sizes |= {recipe.batch_size for _, recipe in members}
        rates += [recipe.lr for _, recipe in members]
        figure.add_trace(
            go.Scatter(
                x=[_jittered(trial, recipe) for trial, recipe in members],
                y=[rounded(recipe.lr) for _, recipe in members],
                customdata=[
                    [t.number, r.optimizer.name, f" at step {t.end_step}" if t.end_step else ""]
                    for t, r in members
                ],
                name=name,
                mode="markers",
                marker={"symbol": marker, "color": shade, "size": 8},
                hovertemplate="trial %{customdata[0]}, %{customdata[1]}, rate %{y}<br>"
                + name
                + "%{customdata[2]}<extra></extra>",
            )
        )
    figure.update_xaxes(_size_axis(sizes))
    figure.update_yaxes(log_axis(rates))
    return figure


def _fate(trial: TrialData, frontier: Frontier) -> str | None:
    """The kind of a trial in the figure of divergence; None if it is not drawn."""
    if trial.outcome == Outcome.DIVERGED:
        return "diverged"
    if trial.outcome not in (Outcome.COMPLETE, Outcome.PRUNED):
        return None
    return "learned nothing" if trial.number in frontier.nothing else "survived"


def _size_axis(sizes: set[int]) -> dict[str, Any]:
    """A log axis of batch sizes, with a tick at each unless there are many."""
    if len(sizes) > _MOST_SIZES:
        return log_axis(sizes)
    ticks = sorted(sizes)
    return {"type": "log", "tickvals": ticks, "ticktext": [str(size) for size in ticks]}


def _jittered(trial: TrialData, recipe: Recipe) -> float | None:
    """A batch size shifted a little, by trial number, so that markers do not hide each other."""
    golden = (trial.number * 0.6180339887498949) % 1 - 0.5
    return rounded(recipe.batch_size * math.exp(2 * _JITTER * golden))
