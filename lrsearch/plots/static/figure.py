"""Colours, line styles and file encoding of all static figures.

Matplotlib is used without `pyplot`, whose global state threads would share.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Kind = Literal["svg", "png"]

# Okabe and Ito, "Color Universal Design" (2008): distinguishable with all kinds of colour vision.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
STYLES = ("-", "--", ":", "-.")
_DPI = 120


def new_figure(width: float = 8.0, height: float = 4.5) -> Figure:
    """An empty figure of this width and height in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def entitle(axes: Axes, title: str) -> None:
    """Set the title of a plot as plain text, in which `$` does not begin a formula."""
    axes.set_title(title, fontsize=9, parse_math=False, loc="left", wrap=True)


def colour(index: int) -> str:
    """The colour of the curve at `index`; colours repeat after the last."""
    return COLOURS[index % len(COLOURS)]


def style(index: int) -> str:
    """The line style of the curve at `index`, which changes each time the colours repeat."""
    return STYLES[index // len(COLOURS) % len(STYLES)]


def encoded(figure: Figure, kind: Kind) -> bytes:
    """Encode a figure as the contents of a file; equal figures give equal SVG except for ids."""
    buffer = io.BytesIO()
    metadata = {"Date": None} if kind == "svg" else None
    figure.savefig(buffer, format=kind, dpi=_DPI, metadata=metadata)
    return buffer.getvalue()
