"""The losses, or the metric, and learning rates of a trial over epochs, as a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lrsearch.plots.static.curves import (
    RATES_NOTE,
    rate_curves,
    rates_title,
    value_curves,
    wants_log,
)
from lrsearch.plots.static.figure import Kind, colour, encoded, entitle, new_figure, style
from lrsearch.text.formatting import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from lrsearch.analysis.study_data import StudyData, TrialData
    from lrsearch.plots.static.curves import Curve


def trial_picture(trial: TrialData, study: StudyData, kind: Kind = "svg") -> bytes:
    """Draw losses, or else the metric, above the learning rates, over epochs; return a file.

    Safe in several threads at once.
    """
    figure = new_figure()
    values, rates = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    entitle(values, _title(trial, study))
    label, curves = value_curves(trial, study.metric.name)
    _draw(values, curves, label)
    _draw(rates, rate_curves(trial), rates_title(trial, "\n"), first_colour=2)
    rates.set_xlabel(f"epoch ({RATES_NOTE})" if trial.curve else "epoch")
    return encoded(figure, kind)


def _title(trial: TrialData, study: StudyData) -> str:
    value = "" if trial.value is None else f", {study.metric.name} {number(trial.value)}"
    recipe = "" if trial.recipe is None else f"\n{trial.recipe.describe()}"
    return f"{study.name}, trial {trial.number}: {trial.outcome or trial.state}{value}{recipe}"


def _draw(axes: Axes, curves: list[Curve], label: str, first_colour: int = 0) -> None:
    """Draw curves into one plot, with colours from `first_colour` on."""
    axes.set_ylabel(label)
    axes.grid(alpha=0.3)
    drawn = [curve for curve in curves if curve.x]
    for index, curve in enumerate(drawn, first_colour):
        # Markers, because a line through a single point is invisible.
        marker = "o" if len(curve.x) <= 2 or not curve.joined else ""
        axes.plot(
            curve.x,
            curve.y,
            label=curve.name,
            color=colour(index),
            linestyle=style(index) if curve.joined else "",
            marker=marker,
            markersize=None if len(curve.x) <= 2 else 3,
        )
    if not drawn:
        axes.text(0.5, 0.5, "no evaluation yet", transform=axes.transAxes, ha="center")
        return
    if wants_log(drawn):
        axes.set_yscale("log")
    if len(drawn) > 1:
        axes.legend(frameon=False, fontsize=8)
