"""Line styles, axes and file encoding of all static figures; the colours are those of `palette`.

Matplotlib is used without `pyplot`, whose global state threads would share.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

from lrsearch.plots.palette import FAMILIES, nth_dash
from lrsearch.plots.ticks import log_ticks, tick_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Kind = Literal["svg", "png"]

# Matplotlib's names for the line styles and markers of the palette.
_LINES: dict[str, Any] = {
    "solid": "-", "dash": "--", "dot": ":", "dashdot": "-.", "longdash": (0, (9, 3)),
}  # fmt: skip
_MARKERS = {
    "circle": "o", "diamond": "D", "square": "s", "triangle-up": "^", "cross": "P", "x": "X",
    "star": "*",
}  # fmt: skip
_DPI = 120


def new_figure(width: float = 8.0, height: float = 4.5) -> Figure:
    """An empty figure of this width and height in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def entitle(axes: Axes, title: str) -> None:
    """Set the title of a plot as plain text, in which `$` does not begin a formula."""
    axes.set_title(title, fontsize=9, parse_math=False, loc="left", wrap=True)


def line(dash: str) -> Any:
    """Matplotlib's line style for a dash of the palette."""
    return _LINES[dash]


def marker(symbol: str) -> str:
    """Matplotlib's marker for a symbol of the palette."""
    return _MARKERS[symbol]


def colour(index: int) -> str:
    """The colour of the curve at `index` of curves of different families."""
    return FAMILIES[index % len(FAMILIES)]


def style(index: int) -> Any:
    """The line style of the curve at `index`, which changes each time the colours repeat."""
    return line(nth_dash(index // len(FAMILIES)))


def log_axis(axes: Axes, which: Literal["x", "y"], values: Iterable[float | None]) -> None:
    """Make an axis logarithmic, with the ticks and labels of the interactive figures."""
    from matplotlib.ticker import NullLocator

    axis = axes.xaxis if which == "x" else axes.yaxis
    axes.set(**{f"{which}scale": "log"})
    axis.set_minor_locator(NullLocator())
    if ticks := log_ticks(values):
        axis.set_ticks(ticks, [tick_label(tick) for tick in ticks])


def encoded(figure: Figure, kind: Kind) -> bytes:
    """Encode a figure as the contents of a file; equal figures give equal SVG except for ids."""
    buffer = io.BytesIO()
    metadata = {"Date": None} if kind == "svg" else None
    figure.savefig(buffer, format=kind, dpi=_DPI, metadata=metadata)
    return buffer.getvalue()
