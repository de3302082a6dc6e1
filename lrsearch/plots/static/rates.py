"""Learning-rate curves of recipes, before any training, as a file."""

from __future__ import annotations

from collections.abc import Sequence

from lrsearch.plots.static.curves import Curve, thinned, wants_log
from lrsearch.plots.static.figure import Kind, colour, encoded, entitle, log_axis, new_figure, style

_MOST_POINTS = 4000
"""Points drawn of a curve."""


def rates_picture(curves: Sequence[Curve], title: str, kind: Kind) -> bytes:
    """Draw curves over epochs, with a legend below several ones; return the contents of a file."""
    figure = new_figure(height=4.5 if len(curves) == 1 else 4.5 + 0.2 * len(curves))
    axes = figure.subplots()
    entitle(axes, title)
    for index, curve in enumerate(curves):
        x, y = thinned(curve.x, curve.y, _MOST_POINTS)
        axes.plot(x, y, label=curve.name, color=colour(index), linestyle=style(index))
    if wants_log(curves):
        log_axis(axes, "y", [y for curve in curves for y in curve.y])
    axes.set_xlabel("epoch")
    axes.set_ylabel("learning rate")
    axes.grid(alpha=0.3)
    if len(curves) > 1:
        legend = figure.legend(frameon=False, fontsize=7, loc="outside lower left")
        for text in legend.get_texts():
            text.set_parse_math(False)
    return encoded(figure, kind)
