"""Curves of trials: validation over training, and the learning rate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lrsearch.analysis.study_data import StudyData, TrialData
from lrsearch.figures.style import GREY, colour, dash, new_figure, ordered, rounded, wants_log

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

TOP = 10
_MOST_POINTS = 30_000


def validation_curves(study: StudyData) -> Figure | None:
    """The metric over the epochs, all trials, coloured by scheduler; None without evaluations."""
    import plotly.graph_objects as go

    drawn = [trial for trial in study.trials if trial.recipe is not None and trial.curve]
    values = [point.value for trial in drawn for point in trial.curve]
    if not any(value is not None for value in values):
        return None
    figure = new_figure("epoch", study.metric.name)
    every = max(1, -(-len(values) // _MOST_POINTS))
    for family in ordered(trial.recipe.scheduler.name for trial in drawn if trial.recipe):
        x: list[float | None] = []
        y: list[float | None] = []
        numbers: list[int | None] = []
        for trial in drawn:
            if trial.recipe is None or trial.recipe.scheduler.name != family:
                continue
            # Counted from the end: the last evaluation is always drawn.
            points = trial.curve[::-1][::every][::-1]
            x += [*(rounded(point.epoch) for point in points), None]
            y += [*(rounded(point.value) for point in points), None]
            numbers += [*([trial.number] * len(points)), None]
        figure.add_trace(
            go.Scatter(
                x=x,
                y=y,
                customdata=numbers,
                name=family,
                mode="lines+markers" if len(values) <= 2 * len(drawn) else "lines",
                line={"color": colour(family), "dash": dash(family), "width": 1.2},
                opacity=0.75,
                hovertemplate=f"trial %{{customdata}}, {family}<br>epoch %{{x}}: %{{y}}"
                "<extra></extra>",
            )
        )
    if wants_log(values):
        figure.update_yaxes(type="log")
    return figure


def rate_curves(study: StudyData) -> Figure | None:
    """The learning rate over the steps of the best trials; None without a complete one."""
    import plotly.graph_objects as go

    best = [trial for trial in study.ranked if trial.recipe is not None and trial.curve][:TOP]
    if not best:
        return None
    figure = new_figure("optimizer step", "learning rate", showlegend=True)
    rates: list[float] = []
    for place, trial in enumerate(best, 1):
        assert trial.recipe is not None
        steps, curve = rates_of(trial)
        rates += curve
        family = trial.recipe.scheduler.name
        figure.add_trace(
            go.Scatter(
                x=steps,
                y=[rounded(rate) for rate in curve],
                name=f"{place}. {family} (trial {trial.number})",
                mode="lines",
                line={
                    "color": colour(family),
                    "dash": dash(family),
                    "width": 3 if place == 1 else 1.4,
                },
                hovertemplate=f"trial {trial.number}, {family}<br>step %{{x}}: %{{y}}"
                "<extra></extra>",
            )
        )
    figure.add_annotation(
        text="as the optimizer held it at each evaluation",
        **{"xref": "paper", "yref": "paper", "x": 1, "y": 0, "xanchor": "right"},
        yanchor="bottom",
        showarrow=False,
        font={"color": GREY, "size": 11},
    )
    if wants_log(rate for rate in rates if rate > 0) and min(rates) > 0:
        figure.update_yaxes(type="log")
    return figure


def rates_of(trial: TrialData) -> tuple[list[int], list[float]]:
    """Steps, and the rates that the optimizer held there: at the start and at each evaluation."""
    first = trial.curve[0]
    steps, rates = [0], [first.lr_start]
    for point in trial.curve:
        steps.append(point.step)
        rates.append(point.lr_end)
    return steps, rates
