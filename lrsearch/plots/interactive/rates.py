"""Figures of trials by learning rate: the metric, the map with batch sizes, and divergence."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lrsearch.analysis.basin import Basins, Response
from lrsearch.analysis.frontier import Frontier
from lrsearch.analysis.scaling import Fit, Scaling
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
from lrsearch.plots.palette import (
    BAND,
    BEST,
    BEST_TO_WORST,
    INK,
    LEARNED_NOTHING,
    OUTCOMES,
    nth_dash,
)
from lrsearch.recipe import Recipe
from lrsearch.states import Outcome
from lrsearch.text.formatting import number, to_error

if TYPE_CHECKING:
    from plotly.graph_objects import Figure, Scatter

_JITTER = 0.09
_MOST_SIZES = 12
_ROW_HEIGHT = 320
"""Height of the plot of an optimizer, of several."""
_EVERY = 4
"""Of the points of a fitted curve every fourth is drawn, to keep pages small."""
_LINE_POINTS = 24


def loss_against_rate(study: StudyData, basins: Basins, best_alone: bool = False) -> Figure | None:
    """Draw the metric over the peak learning rate, coloured by scheduler, for each optimizer.

    With the fitted curve, its 95 % band, and the optimum. Pruned trials are drawn at their
    forecasts, with open markers. `best_alone` leaves out all optimizers but that of the best trial.
    None if no trial is complete or the rate was fixed.
    """
    if basins.fixed is not None or not study.ranked:
        return None
    points = _points(study, basins)
    optimizers = sorted({point.recipe.optimizer.name for point in points})
    best = study.ranked[0].recipe
    if best_alone and best is not None:
        optimizers = [best.optimizer.name]
    if not optimizers:
        return None
    figure = new_figure("", study.metric.name)
    figure.set_subplots(
        rows=len(optimizers),
        cols=1,
        vertical_spacing=0.2 / len(optimizers),
        subplot_titles=[optimizer.replace("<", "&lt;") for optimizer in optimizers],
    )
    if len(optimizers) > 1:
        figure.update_layout(height=_ROW_HEIGHT * len(optimizers) + 60)
    responses = {response.optimizer: response for response in basins.responses}
    shown: set[str] = set()
    for row, optimizer in enumerate(optimizers, 1):
        own = [point for point in points if point.recipe.optimizer.name == optimizer]
        values = [point.value for point in own]
        log = study.metric.mode == "min" and wants_log(values)
        traces = _curve_traces(responses.get(optimizer), study.metric.mode) + _marks(own)
        for trace in traces:
            # One entry of the legend for all optimizers.
            trace.showlegend = trace.showlegend is not False and trace.name not in shown
            shown.add(trace.name)
            figure.add_trace(trace, row=row, col=1)
        figure.update_xaxes(log_axis(point.recipe.lr for point in own), row=row, col=1)
        axis = {**(log_axis(values) if log else {}), "title_text": study.metric.name}
        figure.update_yaxes(axis, row=row, col=1)
    figure.update_xaxes(title_text="learning rate (peak)", row=len(optimizers), col=1)
    return figure


@dataclass(frozen=True)
class _Point:
    """A trial in the figure of the metric over the learning rate."""

    number: int
    recipe: Recipe
    value: float
    """Of a pruned trial its forecast."""
    complete: bool


def _points(study: StudyData, basins: Basins) -> list[_Point]:
    points = []
    for trial in study.trials:
        value = trial.value if trial.is_complete else basins.forecast.get(trial.number)
        if trial.recipe is not None and value is not None:
            points.append(_Point(trial.number, trial.recipe, value, trial.is_complete))
    return points


def _marks(points: list[_Point]) -> list[Scatter]:
    """Markers by scheduler; those of forecasts are open."""
    import plotly.graph_objects as go

    traces = []
    if not all(point.complete for point in points):
        open_mark = {"color": INK, "symbol": "circle-open", "size": 7}
        traces.append(
            go.Scatter(
                x=[None], y=[None], name="pruned: forecast", mode="markers", marker=open_mark
            )
        )
    for family in ordered(point.recipe.scheduler.name for point in points):
        for complete in (True, False):
            members = [
                point
                for point in points
                if point.recipe.scheduler.name == family and point.complete == complete
            ]
            if not members:
                continue
            mark = symbol(family) if complete else f"{symbol(family)}-open"
            traces.append(
                go.Scatter(
                    x=[rounded(point.recipe.lr) for point in members],
                    y=[rounded(point.value) for point in members],
                    customdata=[
                        [p.number, p.recipe.optimizer.name, p.recipe.batch_size] for p in members
                    ],
                    name=family,
                    legendgroup=family,
                    mode="markers",
                    marker={"color": colour(family), "symbol": mark, "size": 7, "opacity": 0.8},
                    hovertemplate="trial %{customdata[0]}, "
                    + family
                    + ", %{customdata[1]}, batch %{customdata[2]}<br>rate %{x}: "
                    + ("%{y}" if complete else "pruned, forecast %{y}")
                    + "<extra></extra>",
                )
            )
    return traces


def _curve_traces(response: Response | None, mode: str) -> list[Scatter]:
    """The band, the curve and the optimum of an optimizer."""
    import plotly.graph_objects as go

    if response is None:
        return []
    curve, sign = response.curve, 1.0 if mode == "min" else -1.0
    rates = [rounded(rate) for rate in curve.rates[::_EVERY]]
    low, high, middle = (
        [rounded(sign * loss) for loss in losses[::_EVERY]]
        for losses in (curve.low, curve.high, curve.losses)
    )
    where = f" at batch size {curve.batch_size:.0f}" if response.aligned else ""
    return [
        go.Scatter(
            x=[*rates, *reversed(rates)],
            y=[*low, *reversed(high)],
            name="95 % band over trials",
            mode="lines",
            line={"width": 0},
            fill="toself",
            fillcolor=BAND,
            hoverinfo="skip",
        ),
        go.Scatter(
            x=rates,
            y=middle,
            name="fitted curve",
            mode="lines",
            line={"color": INK, "width": 2},
            hovertemplate=f"fitted{where}: %{{y}} at rate %{{x}}<extra></extra>",
        ),
        go.Scatter(
            x=[rounded(curve.optimum)],
            y=[rounded(sign * min(curve.losses))],
            name="optimum (95 % interval)",
            mode="markers",
            marker={"color": BEST, "symbol": "diamond", "size": 12,
                    "line": {"color": INK, "width": 1}},
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [rounded(curve.optimum_high - curve.optimum)],
                "arrayminus": [rounded(curve.optimum - curve.optimum_low)],
                "color": INK,
            },
            hovertemplate=f"{response.optimizer}, best rate{where}: %{{x}} "
            f"({number(curve.optimum_low, 2)} to {number(curve.optimum_high, 2)})<extra></extra>",
        ),
    ]  # fmt: skip


def rate_and_batch_map(study: StudyData, scaling: Scaling) -> Figure | None:
    """Draw complete trials by batch size and learning rate, coloured by rank.

    With the fitted lines and their 95 % bands. None if no trial is complete, or all trials had the
    same batch size.
    """
    import plotly.graph_objects as go

    complete = [(t, t.recipe) for t in study.ranked if t.recipe is not None]
    if not complete or len(scaling.batch_sizes) < 2:
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
    for k, fit in enumerate(scaling.fits):
        _add_line(figure, fit, nth_dash(k))
    figure.update_xaxes(_size_axis({recipe.batch_size for _, recipe in complete}))
    figure.update_yaxes(log_axis(recipe.lr for _, recipe in complete))
    return figure


def _add_line(figure: Figure, fit: Fit, dash: str) -> None:
    """Draw the fitted best learning rate over the batch size, with its 95 % band."""
    import plotly.graph_objects as go

    first, last = math.log(fit.sizes[0]), math.log(fit.sizes[-1])
    sizes = [math.exp(first + (last - first) * k / _LINE_POINTS) for k in range(_LINE_POINTS + 1)]
    bands = [fit.band(size) for size in sizes]
    places = [rounded(size) for size in sizes]
    figure.add_trace(
        go.Scatter(
            x=[*places, *reversed(places)],
            y=[rounded(low) for low, _ in bands] + [rounded(high) for _, high in bands[::-1]],
            name=f"{fit.optimizer}: 95 % band over trials",
            mode="lines",
            line={"width": 0},
            fill="toself",
            fillcolor=BAND,
            hoverinfo="skip",
            showlegend=False,
        )
    )
    error = (fit.high - fit.low) / 4
    value, low, high = (to_error(power, error) for power in (fit.exponent, fit.low, fit.high))
    figure.add_trace(
        go.Scatter(
            x=places,
            y=[rounded(fit.rate(size)) for size in sizes],
            mode="lines",
            name=f"{fit.optimizer}: exponent {value} ({low} to {high})",
            line={"color": INK, "width": 2.5, "dash": dash},
            hovertemplate=f"{fit.optimizer}, batch %{{x:.0f}}: best rate %{{y}}<extra></extra>",
        )
    )


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
