"""Plots of curves with characters, for a terminal or a pipe."""

from __future__ import annotations

import math
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lrsearch.plots.static.curves import Curve, thinned, wants_log

_PIPED_WIDTH = 80
_NARROWEST = 40
_MOST_POINTS = 400
"""Points drawn of a curve; a terminal cannot show more, and each costs time."""
_MOST_DIGITS = 12
# The colours of `figure.COLOURS`, without black, as indices of the 256 colours of terminals.
_COLOURS = (25, 166, 36, 175, 214, 74)
_MARKERS = "*+ox#@%&$~"
"""Characters that distinguish curves without colours, or if there are too few colours."""


@dataclass(frozen=True)
class Paper:
    """The width of the output in columns, and whether it shows colours."""

    width: int = _PIPED_WIDTH
    coloured: bool = False


def paper() -> Paper:
    """Return the width and colours of the terminal, or 80 columns without colours for a pipe."""
    if not sys.stdout.isatty():
        return Paper()
    width = max(_NARROWEST, shutil.get_terminal_size().columns)
    return Paper(width, not os.environ.get("NO_COLOR"))


_HEIGHT = 16
"""Lines of a plot."""


def text_plot(
    curves: Sequence[Curve],
    title: str,
    on: Paper,
    x_label: str = "epoch",
    log_x: bool = False,
    share_x: bool = False,
) -> str:
    """Draw a title, all curves in one plot and a legend; return the text.

    `x` may be on a logarithmic axis, or be shares, in percent on an axis from 0 to 1.

    Without points to draw, or with a single one, the text says so instead.
    """
    drawn = [curve for curve in curves if curve.x]
    if not drawn:
        return f"{title}: nothing to draw yet"
    if len({x for curve in drawn for x in curve.x}) == 1:
        return f"{title}: one evaluation, nothing to plot"
    import plotext

    plotext.terminal.limit(False, False)
    figure = plotext.figure.clear()
    figure.theme("colorless")
    figure.plot_size(on.width, _HEIGHT)
    figure.label(x_label, axis="x")
    log = wants_log(drawn)
    positions = [_position(x, log_x) for curve in drawn for x in curve.x]
    if log_x:
        _tick_decades(figure.ruler("x"), positions)
    elif share_x:
        shares = _even_ticks(0.0, max(1.0, *positions), 5)
        figure.ruler("x").ticks(shares, [f"{share:.0%}" for share in shares])
        figure.ruler("x").lim(shares[0], shares[-1])
    else:
        _tick(figure.ruler("x"), positions, on.width // 12, False)
    _tick(figure.ruler("y"), [_position(y, log) for curve in drawn for y in curve.y], 5, log)
    names = []
    for index, curve in enumerate(drawn):
        x, y = thinned(curve.x, curve.y, _MOST_POINTS)
        colour = _COLOURS[index % len(_COLOURS)] if on.coloured else None
        shape = _marker(index, len(drawn), on.coloured) if curve.joined else _character(index)
        x = [_position(value, log_x) for value in x]
        y = [_position(value, log) for value in y]
        signal = figure.signal(x, y, marker=plotext.marker(shape, colour))
        figure.draw(signal.lines() if curve.joined else signal)
        sample = plotext.colorize("──" if shape == "braille" else shape, colour)
        names.append((sample.string(colorless=not on.coloured), curve.name))
    text = str(figure.build().string(colorless=not on.coloured))
    plot = [line.rstrip() for line in text.splitlines()]
    return "\n".join([title, *plot] + (_legend(names, on.width) if len(drawn) > 1 else []))


def _position(value: float, log: bool) -> float:
    """The position of a value on its axis; logarithmic axes of plotext would ignore our ticks."""
    return math.log10(value) if log else value


def _tick(ruler: Any, positions: Sequence[float], count: int, log: bool) -> None:
    """Set `count` ticks at even distances, labelled with the values there."""
    ticks = _even_ticks(min(positions), max(positions), count)
    ruler.ticks(ticks, _labels([10**tick if log else tick for tick in ticks]))


def _tick_decades(ruler: Any, positions: Sequence[float]) -> None:
    """Set ticks at the powers of ten."""
    powers = range(math.ceil(min(positions) - 1e-6), math.floor(max(positions) + 1e-6) + 1)
    ruler.ticks([float(power) for power in powers], [f"{10.0**power:g}" for power in powers])


def _labels(values: Sequence[float]) -> list[str]:
    """Labels of three significant digits, or of as many as distinguish the values."""
    for digits in range(3, _MOST_DIGITS):
        labels = [f"{value:.{digits}g}" for value in values]
        if len(set(labels)) == len(labels):
            return labels
    return [f"{value:.{_MOST_DIGITS}g}" for value in values]


def _legend(names: Sequence[tuple[str, str]], width: int) -> list[str]:
    """Lines with a sample and the name of each curve, as many in each line as fit its width."""
    lines: list[str] = []
    used = width
    for sample, name in names:
        needed = len(name) + 6
        if used + needed > width:
            lines.append("  ")
            used = 2
        lines[-1] += f"{sample} {name}   "
        used += needed
    return [line.rstrip() for line in lines]


def _marker(index: int, curves: int, coloured: bool) -> str:
    """The marker of a curve: fine dots for one curve or with enough colours, else a character."""
    if curves == 1 or (coloured and curves <= len(_COLOURS)):
        return "braille"
    return _character(index)


def _character(index: int) -> str:
    """The character of a curve; they repeat after the last."""
    return _MARKERS[index % len(_MARKERS)]


def _even_ticks(low: float, high: float, count: int) -> list[float]:
    """`count` positions from `low` to `high` at equal distances; one if both are equal."""
    if low == high:
        return [low]
    shares = [k / (count - 1) for k in range(count)]
    return [low * (1 - share) + high * share for share in shares]
