"""A trial as a picture: losses and learning rate over epochs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lrsearch.pictures.curves import loss_curves, rate_curve
from lrsearch.pictures.figure import Kind, colour, encoded, entitle, new_figure, style
from lrsearch.pictures.scales import wants_log

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from lrsearch.analysis.study_data import StudyData, TrialData
    from lrsearch.pictures.curves import Curve


def trial_picture(trial: TrialData, study: StudyData, kind: Kind = "svg") -> bytes:
    """Losses above, the learning rate below, over epochs. Threads may draw at the same time."""
    figure = new_figure()
    losses, rates = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    entitle(losses, _title(trial, study))
    _draw(losses, loss_curves(trial), "loss")
    _draw_rates(rates, trial)
    rates.set_xlabel("epoch")
    return encoded(figure, kind)


def _title(trial: TrialData, study: StudyData) -> str:
    value = "" if trial.value is None else f", {study.metric.name} {trial.value:.4g}"
    recipe = "" if trial.recipe is None else f"\n{trial.recipe.describe()}"
    return f"{study.name}, trial {trial.number}: {trial.outcome or trial.state}{value}{recipe}"


def _draw_rates(axes: Axes, trial: TrialData) -> None:
    """Markers: what lies between the ends of an evaluation's steps is not stored."""
    held = rate_curve(trial, "at the start and end of each evaluation's steps")
    _draw(axes, [held], "learning rate", first_colour=2)
    for line in axes.get_lines():
        line.set(linestyle=":", linewidth=0.8, marker="o", markersize=3)
    if held.x and trial.recipe is not None:
        axes.axhline(trial.recipe.lr, color=colour(2), linestyle="--", linewidth=0.8, label="peak")
        axes.legend(frameon=False, fontsize=8)


def _draw(axes: Axes, curves: list[Curve], label: str, first_colour: int = 0) -> None:
    axes.set_ylabel(label)
    axes.grid(alpha=0.3)
    drawn = [curve for curve in curves if curve.x]
    for index, curve in enumerate(drawn, first_colour):
        # A single evaluation would be a line without length.
        marker = "o" if len(curve.x) <= 2 else ""
        axes.plot(
            curve.x,
            curve.y,
            label=curve.name,
            color=colour(index),
            linestyle=style(index),
            marker=marker,
        )
    if not drawn:
        axes.text(0.5, 0.5, "no evaluation yet", transform=axes.transAxes, ha="center")
        return
    if wants_log(y for curve in drawn for y in curve.y):
        axes.set_yscale("log")
    if len(drawn) > 1:
        axes.legend(frameon=False, fontsize=8)
