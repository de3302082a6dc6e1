"""Figures of trials over their training: the metric, and the learning rate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lrsearch.analysis.group_rates import group_rates
from lrsearch.analysis.study_data import (
    MOST_POINTS,
    WHOLE_CURVES,
    StudyData,
    TrialData,
    shown_curves,
)
from lrsearch.evaluation import Evaluation
from lrsearch.plots.interactive.style import (
    colour,
    dash,
    log_axis,
    new_figure,
    ordered,
    rounded,
    symbol,
    wants_log,
)  # fmt: skip
from lrsearch.plots.palette import INK

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

TOP = WHOLE_CURVES
_MANY = 200


def validation_curves(study: StudyData) -> Figure | None:
    """Draw the metric over epochs, coloured by scheduler; None without evaluations."""
    import plotly.graph_objects as go

    drawn = [trial for trial in shown_curves(study) if trial.recipe is not None and trial.curve]
    values = [evaluation.value for trial in drawn for evaluation in trial.curve]
    if not any(value is not None for value in values):
        return None
    figure = new_figure("epoch", study.metric.name)
    # Curves that were thinned when read have the first and the best evaluation in addition.
    every = max(1, -(-len(values) // (MOST_POINTS + 2 * len(drawn))))
    for family in ordered(trial.recipe.scheduler.name for trial in drawn if trial.recipe):
        members = [t for t in drawn if t.recipe is not None and t.recipe.scheduler.name == family]
        # Counted from the end, so that the last evaluation is always drawn.
        thinned = [(trial.number, trial.curve[::-1][::every][::-1]) for trial in members]
        # Curves of one point are drawn as markers, because a line through them is invisible.
        lines = [curve for curve in thinned if len(curve[1]) > 1]
        single = [curve for curve in thinned if len(curve[1]) == 1]
        for curves, mode in ((lines, "lines"), (single, "markers")):
            if not curves:
                continue
            x, y, numbers = _joined(curves)
            figure.add_trace(
                go.Scatter(
                    x=[rounded(epoch) for epoch in x],
                    y=[rounded(value) for value in y],
                    customdata=numbers,
                    name=family,
                    legendgroup=family,
                    showlegend=mode == "lines" or not lines,
                    mode=mode,
                    line={"color": colour(family), "dash": dash(family), "width": 1.2},
                    marker={"color": colour(family), "symbol": symbol(family), "size": 7},
                    opacity=0.75 if len(drawn) <= _MANY else 0.35,
                    hovertemplate=f"trial %{{customdata}}, {family}<br>epoch %{{x}}: %{{y}}"
                    "<extra></extra>",
                )
            )
    if wants_log(values):
        figure.update_yaxes(log_axis(values))
    return figure


def _joined(
    curves: list[tuple[int, tuple[Evaluation, ...]]],
) -> tuple[list[float | None], list[float | None], list[int | None]]:
    """Join curves into one: epochs, values and trial numbers, with a gap after each curve."""
    x: list[float | None] = []
    y: list[float | None] = []
    numbers: list[int | None] = []
    for number, evaluations in curves:
        x += [*(evaluation.epoch for evaluation in evaluations), None]
        y += [*(evaluation.value for evaluation in evaluations), None]
        numbers += [*([number] * len(evaluations)), None]
    return x, y, numbers


def rated(study: StudyData) -> list[TrialData]:
    """The best trials with evaluations, whose learning rates are drawn."""
    return [trial for trial in study.ranked if trial.recipe is not None and trial.curve][:TOP]


def rate_curves(study: StudyData) -> Figure | None:
    """Draw the learning rate over the steps of the best trials; None without a complete trial.

    Markers show the rates at the start and the end of each evaluation's steps; those in between are
    not recorded.
    """
    import plotly.graph_objects as go

    best = rated(study)
    if not best:
        return None
    figure = new_figure("optimizer step", "learning rate", showlegend=True)
    rates: list[float] = []
    for rank, trial in enumerate(best, 1):
        assert trial.recipe is not None
        family = trial.recipe.scheduler.name
        # Further parameter groups are drawn for the best trial only, to keep the figure readable.
        groups = list(held_rates(trial).items())[: None if rank == 1 else 1]
        for index, (group, held) in enumerate(groups):
            rates += held
            suffix = f", {group}" if index else ""
            figure.add_trace(
                go.Scatter(
                    x=held_steps(trial),
                    y=[rounded(rate) for rate in held],
                    name=f"{rank}. {family} (trial {trial.number}{suffix})",
                    mode="lines+markers",
                    line={"color": colour(family), "dash": "dot", "width": 1},
                    marker={"symbol": symbol(family), "size": 9 if rank == 1 else 5},
                    hovertemplate=f"trial {trial.number}, {family}{suffix}, peak "
                    f"{rounded(trial.recipe.lr)}<br>step %{{x}}: %{{y}}<extra></extra>",
                )
            )
    first = best[0]
    assert first.recipe is not None
    rates.append(first.recipe.lr)
    figure.add_trace(
        go.Scatter(
            x=[0, first.curve[-1].step],
            y=[rounded(first.recipe.lr)] * 2,
            name="peak of the best recipe",
            mode="lines",
            line={"color": colour(first.recipe.scheduler.name), "dash": "dash", "width": 1.5},
            hovertemplate="peak of the best recipe: %{y}<extra></extra>",
        )
    )
    figure.add_annotation(
        text="as the optimizer held it at the start and<br>end of each evaluation's steps",
        **{"xref": "paper", "yref": "paper", "x": 1, "y": 0, "xanchor": "right"},
        yanchor="bottom",
        showarrow=False,
        font={"color": INK, "size": 11},
    )
    if min(rates) > 0 and wants_log(rates):
        figure.update_yaxes(log_axis(rates))
    return figure


def held_steps(trial: TrialData) -> list[int]:
    """The steps at which rates are recorded: the start and the end of each evaluation's steps."""
    ends = [evaluation.step for evaluation in trial.curve]
    return [step for pair in zip([0, *ends], ends, strict=False) for step in pair]


def held_rates(trial: TrialData) -> dict[str, list[float]]:
    """The rates at `held_steps` by parameter group, the first group's first."""
    return {
        name: [rate for pair in pairs for rate in pair]
        for name, pairs in group_rates(trial).items()
    }
