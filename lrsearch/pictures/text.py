"""Curves drawn with characters, for a terminal or a pipe."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lrsearch.pictures.curves import Curve
from lrsearch.pictures.scales import thinned, wants_log

_PIPED_WIDTH = 80
_NARROWEST = 40
_MOST_POINTS = 400
"""A terminal has no room for more; drawing each costs time."""
# The colours of `figure.COLOURS`, without black, in the table of 256 that terminals have.
_COLOURS = (25, 166, 36, 175, 214, 74)
_MARKERS = "*+ox#@%&$~"
"""Tell curves apart where there are no colours, or not enough of them."""


@dataclass(frozen=True)
class Paper:
    """What is drawn on: columns, and whether colours are in place."""

    width: int = _PIPED_WIDTH
    coloured: bool = False


def paper() -> Paper:
    """That of the standard output: the terminal's, or 80 columns without colours."""
    if not sys.stdout.isatty():
        return Paper()
    width = max(_NARROWEST, shutil.get_terminal_size().columns)
    return Paper(width, not os.environ.get("NO_COLOR"))


def text_plot(
    curves: Sequence[Curve], title: str, on: Paper, x_label: str = "epoch", height: int = 16
) -> str:
    """The curves in one plot with a legend; a line that says so where there is nothing to draw."""
    drawn = [curve for curve in curves if curve.x]
    if not drawn:
        return f"{title}: nothing to draw yet"
    import plotext

    plotext.clear_figure()
    plotext.limit_size(False, False)
    plotext.plot_size(on.width, height)
    plotext.theme("clear")
    plotext.title(title)
    plotext.xlabel(x_label)
    if wants_log(y for curve in drawn for y in curve.y):
        plotext.yscale("log")
    for index, curve in enumerate(drawn):
        x, y = thinned(curve.x, curve.y, _MOST_POINTS)
        label = curve.name if len(drawn) > 1 else None
        look: dict[str, Any] = {"marker": _marker(index, len(drawn), on.coloured)}
        if on.coloured:
            look["color"] = _COLOURS[index % len(_COLOURS)]
        plotext.plot(x, y, label=label, **look)
    built = str(plotext.build())
    text = built if on.coloured else plotext.uncolorize(built)
    return "\n".join(line.rstrip() for line in text.splitlines())


def _marker(index: int, curves: int, coloured: bool) -> str:
    """Fine dots where colours, or nothing, need to be told apart; else a character a curve."""
    if curves == 1 or (coloured and curves <= len(_COLOURS)):
        return "braille"
    return _MARKERS[index % len(_MARKERS)]
