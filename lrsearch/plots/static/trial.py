"""The losses, or the metric, and learning rates of a trial over its training, as a file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lrsearch.plots.palette import FAINT, PLAIN, family_colour, nth_dash
from lrsearch.plots.static.curves import (
    SHARE,
    rate_curves,
    rates_note,
    rates_title,
    value_curves,
    wants_log,
)
from lrsearch.plots.static.figure import Kind, encoded, entitle, line, log_axis, new_figure
from lrsearch.states import in_words
from lrsearch.text.formatting import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from lrsearch.analysis.study_data import StudyData, TrialData
    from lrsearch.plots.static.curves import Curve


def trial_picture(trial: TrialData, study: StudyData, kind: Kind = "svg") -> bytes:
    """Draw losses, or else the metric, above the learning rates, over the training; return a file.

    Safe in several threads at once.
    """
    from matplotlib.ticker import PercentFormatter

    figure = new_figure()
    values, rates = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    entitle(values, _title(trial, study))
    label, curves = value_curves(study, trial)
    lines = rate_curves(study, trial)
    losses = [(FAINT, "-"), (PLAIN, "-")][-len(curves) :]
    shade = PLAIN if trial.recipe is None else family_colour(trial.recipe.scheduler.name)
    groups = [(shade, line(nth_dash(index))) for index in range(len(lines))]
    _draw(values, curves, label, losses)
    _draw(rates, lines, rates_title(trial, "\n"), groups)
    alone = any(not curve.joined for curve in lines)
    rates.set_xlabel(f"{SHARE} ({rates_note(study, [trial])})" if alone else SHARE)
    rates.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=None))
    end = max([1.0, *(x for curve in [*curves, *lines] for x in curve.x)])
    rates.set_xlim(-0.02 * end, 1.02 * end)
    return encoded(figure, kind)


def _title(trial: TrialData, study: StudyData) -> str:
    value = "" if trial.value is None else f", {study.metric.name} {number(trial.value)}"
    recipe = "" if trial.recipe is None else f"\n{trial.recipe.describe(study.searched)}"
    ended = in_words(trial.outcome or trial.state)
    return f"{study.name}, trial {trial.number}: {ended}{value}{recipe}"


def _draw(axes: Axes, curves: list[Curve], label: str, looks: Sequence[tuple[str, Any]]) -> None:
    """Draw curves into one plot; `looks` are the colour and the line style of each."""
    axes.set_ylabel(label)
    axes.grid(alpha=0.3)
    drawn = [curve for curve in curves if curve.x]
    for curve, (shade, dashes) in zip(curves, looks, strict=False):
        if not curve.x:
            continue
        axes.plot(
            curve.x,
            curve.y,
            label=curve.name,
            color=shade,
            linestyle=dashes if curve.joined else "",
            # A line through a single point is invisible.
            marker="" if curve.joined and len(curve.x) > 1 else "o",
            markersize=3,
        )
        if curve.marks is not None:
            x, y = curve.marks
            axes.plot(x, y, color=shade, linestyle="", marker="o", markersize=3)
    if not drawn:
        axes.text(0.5, 0.5, "no evaluation yet", transform=axes.transAxes, ha="center")
        return
    if wants_log(drawn):
        log_axis(axes, "y", [y for curve in drawn for y in curve.y])
    if len(drawn) > 1:
        axes.legend(frameon=False, fontsize=8)
