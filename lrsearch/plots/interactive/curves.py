"""Figures of trials over their training: the metric, the losses, and the learning rate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lrsearch.analysis.lr_curve import GroupCurve, lr_curve, shares_of
from lrsearch.analysis.study_data import (
    MOST_POINTS,
    WHOLE_CURVES,
    StudyData,
    TrialData,
    shown_curves,
)
from lrsearch.plots.interactive.style import (
    colour,
    dash,
    log_axis,
    new_figure,
    ordered,
    rounded,
    symbol,
    wants_log,
)
from lrsearch.plots.static import curves as static
from lrsearch.plots.static.curves import SHARE, Curve, rate_line

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

TOP = WHOLE_CURVES
_MANY = 200
_MOST_MARKERS = 3000
"""Evaluations of all trials that are marked as points; of more the lines alone are drawn."""
_MOST_MARKS = 100
"""Evaluations of a trial that are marked as points on its learning rates and losses."""
_FAINT = 0.7
_HEIGHT = 620
_DIGITS = 6
"""Significant digits of a share of a training."""


def validation_curves(study: StudyData) -> Figure | None:
    """Draw the metric over the training, coloured by scheduler; None without evaluations."""
    import plotly.graph_objects as go

    drawn = [trial for trial in shown_curves(study) if trial.recipe is not None and trial.curve]
    values = [evaluation.value for trial in drawn for evaluation in trial.curve]
    if not any(value is not None for value in values):
        return None
    figure = new_figure(SHARE, study.metric.name)
    figure.update_xaxes(_share_axis(study, drawn))
    # Curves that were thinned when read have the first and the best evaluation in addition.
    every = max(1, -(-len(values) // (MOST_POINTS + 2 * len(drawn))))
    for family in ordered(trial.recipe.scheduler.name for trial in drawn if trial.recipe):
        members = [t for t in drawn if t.recipe is not None and t.recipe.scheduler.name == family]
        # Counted from the end, so that the last evaluation is always drawn.
        thinned = [_thinned(study, trial, every) for trial in members]
        # Curves of one point are drawn as markers, because a line through them is invisible.
        lines = [curve for curve in thinned if len(curve.shares) > 1]
        single = [curve for curve in thinned if len(curve.shares) == 1]
        mode = "lines+markers" if len(values) <= _MOST_MARKERS else "lines"
        for curves, shown in ((lines, mode), (single, "markers")):
            if not curves:
                continue
            joined = _joined(curves)
            figure.add_trace(
                go.Scatter(
                    x=joined.shares,
                    y=joined.values,
                    customdata=joined.labels,
                    name=family,
                    legendgroup=family,
                    showlegend=shown != "markers" or not lines,
                    mode=shown,
                    line={"color": colour(family), "dash": dash(family), "width": 1.2},
                    marker={
                        "color": colour(family),
                        "symbol": symbol(family),
                        "size": 7 if shown == "markers" else 4,
                    },
                    opacity=0.75 if len(drawn) <= _MANY else 0.35,
                    hovertemplate=f"trial %{{customdata[0]}}, {family}<br>epoch "
                    "%{customdata[1]}, %{x:.0%}: %{y}<extra></extra>",
                )
            )
    if wants_log(values):
        figure.update_yaxes(log_axis(values))
    return figure


def _share_axis(study: StudyData, trials: Sequence[TrialData]) -> dict[str, Any]:
    """An axis from the start to the end of the training, which some loops exceed."""
    end = max([1.0, *(shares_of(study, trial)[-1] for trial in trials if trial.curve)])
    return {"tickformat": ".0%", "range": [-0.02 * end, 1.02 * end]}


@dataclass
class _Curves:
    """Curves in one: a gap follows each of them."""

    shares: list[float | None]
    values: list[float | None]
    labels: list[tuple[int, float] | None]
    """Trial and epoch."""


def _thinned(study: StudyData, trial: TrialData, every: int) -> _Curves:
    """The curve of a trial, of whose evaluations every second is left, or third, ..."""
    kept = [*zip(shares_of(study, trial), trial.curve, strict=True)][::-1][::every][::-1]
    return _Curves(
        [rounded(share, _DIGITS) for share, _ in kept],
        [rounded(evaluation.value) for _, evaluation in kept],
        [(trial.number, float(f"{evaluation.epoch:.4g}")) for _, evaluation in kept],
    )


def _joined(curves: Sequence[_Curves]) -> _Curves:
    """Join curves into one, with a gap after each curve."""
    joined = _Curves([], [], [])
    for curve in curves:
        joined.shares += [*curve.shares, None]
        joined.values += [*curve.values, None]
        joined.labels += [*curve.labels, None]
    return joined


def rated(study: StudyData) -> list[TrialData]:
    """The best trials with evaluations, whose learning rates are drawn."""
    return [trial for trial in study.ranked if trial.recipe is not None and trial.curve][:TOP]


def rate_curves(study: StudyData) -> Figure | None:
    """Draw losses above the learning rates of the best trials; None without a complete trial.

    The rates are lines through the rate of every step, of the best trial for all parameter groups,
    with the recorded ones marked; the marks stand alone where those in between are not known.
    """
    best = rated(study)
    if not best:
        return None
    figure = new_figure(SHARE, "learning rate", showlegend=True, height=_HEIGHT)
    label, has_losses = _drawn_values(study, best)
    figure.update_xaxes(_share_axis(study, best))
    figure.update_yaxes(domain=[0.0, 0.42])
    figure.update_layout(
        yaxis2={"title": {"text": label, "standoff": 8}, "domain": [0.5, 1.0], "anchor": "x"}
    )
    values: list[float] = []
    rates: list[Curve] = []
    for rank, trial in enumerate(best, 1):
        values += _add_values(figure, study, trial, rank, has_losses)
        # Further parameter groups are drawn for the best trial only, to keep the figure readable.
        for index, group in enumerate(lr_curve(study, trial).groups[: None if rank == 1 else 1]):
            suffix = f", {group.name}" if index else ""
            rates.append(_add_rates(figure, trial, rank, group, suffix))
    if static.wants_log(rates):
        scale = log_axis([y for curve in rates for y in curve.y])
        figure.update_layout(yaxis=scale)
    if values and wants_log(values):
        figure.update_layout(yaxis2=log_axis(values))
    return figure


def _drawn_values(study: StudyData, trials: Sequence[TrialData]) -> tuple[str, bool]:
    """What is drawn above the rates: the validation loss, or the metric where there is none."""
    has_losses = any(row.val_loss is not None for trial in trials for row in trial.curve)
    return ("val_loss", True) if has_losses else (study.metric.name, False)


def _add_values(
    figure: Figure, study: StudyData, trial: TrialData, rank: int, has_losses: bool
) -> list[float]:
    """Add the losses or the metric of a trial; return the values."""
    import plotly.graph_objects as go

    assert trial.recipe is not None
    family = trial.recipe.scheduler.name
    values = [row.val_loss if has_losses else row.value for row in trial.curve]
    figure.add_trace(
        go.Scatter(
            x=[rounded(share, _DIGITS) for share in shares_of(study, trial)],
            y=[rounded(value) for value in values],
            customdata=[float(f"{row.epoch:.4g}") for row in trial.curve],
            legendgroup=f"{trial.number}",
            showlegend=False,
            yaxis="y2",
            mode="lines+markers" if len(values) <= _MOST_MARKS else "lines",
            line=_line_of(family, rank),
            marker={"symbol": symbol(family), "size": 5},
            opacity=1.0 if rank == 1 else _FAINT,
            hovertemplate=f"trial {trial.number}, {family}<br>epoch %{{customdata}}, "
            "%{x:.0%}: %{y}<extra></extra>",
        )
    )
    return [value for value in values if value is not None]


def _add_rates(
    figure: Figure, trial: TrialData, rank: int, group: GroupCurve, suffix: str
) -> Curve:
    """Add the rates of a group, a line and the recorded ones as points; return what is drawn."""
    import plotly.graph_objects as go

    assert trial.recipe is not None
    family = trial.recipe.scheduler.name
    is_line = len(group.line_shares) > 0
    name = f"{rank}. {family} (trial {trial.number}{suffix})"
    points = Curve(name, group.shares, group.rates)
    line = rate_line(group, name) if is_line else points
    modes = ["lines"] if is_line else []
    if not is_line or len(group.rates) <= 2 * _MOST_MARKS:
        modes.append("markers")
    for mode in modes:
        curve = line if mode == "lines" else points
        figure.add_trace(
            go.Scatter(
                x=[rounded(share, _DIGITS) for share in curve.x],
                y=[rounded(rate) for rate in curve.y],
                mode=mode,
                line=_line_of(family, rank) | ({"dash": "dot"} if suffix else {}),
                marker={"color": colour(family), "symbol": symbol(family), "size": 5},
                name=name,
                legendgroup=f"{trial.number}",
                showlegend=mode == modes[0],
                opacity=1.0 if rank == 1 else _FAINT,
                hovertemplate=f"trial {trial.number}, {family}{suffix}, peak "
                f"{rounded(trial.recipe.lr)}<br>%{{x:.1%}}: %{{y}}<extra></extra>",
            )
        )
    return line


def _line_of(family: str, rank: int) -> dict[str, Any]:
    """The line of a trial: that of its family, thick for the best."""
    return {"color": colour(family), "dash": dash(family), "width": 2.5 if rank == 1 else 1.2}
