"""Colours, lines and file encoding that all pictures share.

Matplotlib's object interface alone: `pyplot` keeps a global state, which threads would share.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Kind = Literal["svg", "png"]

# Okabe and Ito, "Color Universal Design" (2008): told apart whatever the eyes.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
STYLES = ("-", "--", ":", "-.")
_DPI = 120


def new_figure(width: float = 8.0, height: float = 4.5) -> Figure:
    """An empty figure, in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def entitle(axes: Axes, title: str) -> None:
    """Set a title literally: `$` in a name does not begin a formula."""
    axes.set_title(title, fontsize=9, parse_math=False, loc="left", wrap=True)


def colour(index: int) -> str:
    """Colour of the curve at `index`; the colours repeat after the last."""
    return COLOURS[index % len(COLOURS)]


def style(index: int) -> str:
    """Line style of the curve at `index`: changes each time the colours repeat."""
    return STYLES[index // len(COLOURS) % len(STYLES)]


def encoded(figure: Figure, kind: Kind) -> bytes:
    """Encode a figure as the content of a file; equal figures give equal text, but for ids."""
    buffer = io.BytesIO()
    metadata = {"Date": None} if kind == "svg" else None
    figure.savefig(buffer, format=kind, dpi=_DPI, metadata=metadata)
    return buffer.getvalue()
