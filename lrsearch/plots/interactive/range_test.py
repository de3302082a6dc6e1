"""The figure of a range test: the loss over a rising learning rate."""

from __future__ import annotations

import bisect
from typing import TYPE_CHECKING

from lrsearch.plots.interactive.style import (
    BLUE,
    GREEN,
    ORANGE,
    PINK,
    VERMILLION,
    new_figure,
    rounded,
)
from lrsearch.range_test.curve import MeanCurve, mean_curves
from lrsearch.range_test.finding import Spread
from lrsearch.range_test.result import RangeTest
from lrsearch.text.formatting import number

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_COLOURS = (BLUE, ORANGE, GREEN, VERMILLION, PINK)
_DASHES = ("solid", "dash", "dot")


def ramps(test: RangeTest | None) -> Figure | None:
    """Draw the loss for each optimizer and batch size, the rates found, and their ranges as bars.

    None without a range test, or without a curve of it.
    """
    curves = [] if test is None else mean_curves(test.ramps)
    if test is None or not curves:
        return None
    figure = new_figure("learning rate", "training loss (smoothed)", showlegend=True)
    sizes = sorted({curve.batch_size for curve in curves})
    bottom = min(min(curve.losses) for curve in curves)
    height = max(max(curve.losses) for curve in curves) - bottom
    for index, optimizer in enumerate(test.optimizers):
        colour = _COLOURS[index % len(_COLOURS)]
        for curve in curves:
            if curve.optimizer == optimizer:
                dash = _DASHES[sizes.index(curve.batch_size) % len(_DASHES)]
                _add_curve(figure, test, curve, colour, dash)
        _add_range(figure, test, optimizer, colour, bottom - 0.05 * height * (index + 1))
    figure.update_xaxes({"type": "log", "dtick": 1})
    return figure


def _add_curve(figure: Figure, test: RangeTest, curve: MeanCurve, colour: str, dash: str) -> None:
    """Draw a mean curve, with markers at its steepest rate and at the largest that trains."""
    import plotly.graph_objects as go

    name = f"{curve.optimizer}, batch {curve.batch_size}"
    figure.add_trace(
        go.Scatter(
            x=[rounded(rate) for rate in curve.rates],
            y=[rounded(loss) for loss in curve.losses],
            name=name,
            legendgroup=name,
            mode="lines",
            line={"color": colour, "dash": dash, "width": 2},
            hovertemplate=f"{name}<br>rate %{{x}}: %{{y}}<extra></extra>",
        )
    )
    for finding in test.findings:
        if (finding.optimizer, finding.batch_size) != (curve.optimizer, curve.batch_size):
            continue
        for spread, what, symbol in (
            (finding.steepest, "falls fastest", "diamond"),
            (finding.largest, "largest that trains", "x"),
        ):
            if spread is not None:
                marker = {"color": colour, "symbol": symbol, "size": 10}
                figure.add_trace(
                    go.Scatter(
                        x=[rounded(spread.value)],
                        y=[rounded(_loss_at(curve, spread))],
                        name=what,
                        legendgroup=name,
                        showlegend=False,
                        mode="markers",
                        marker=marker,
                        hovertemplate=f"{name}: {what}, %{{x}} ({number(spread.low, 2)} to "
                        f"{number(spread.high, 2)} over the seeds)<extra></extra>",
                    )
                )


def _loss_at(curve: MeanCurve, spread: Spread) -> float:
    """The loss of a curve at a rate that was found."""
    index = bisect.bisect_left(curve.rates, spread.value)
    return curve.losses[min(index, len(curve.losses) - 1)]


def _add_range(figure: Figure, test: RangeTest, optimizer: str, colour: str, y: float) -> None:
    """Draw the suggested range of an optimizer as a bar at height `y`.

    Not with coupled rates, whose range is for the reference batch size.
    """
    import plotly.graph_objects as go

    suggested = test.suggested(optimizer)
    if suggested is not None and test.coupling.rule == "none":
        figure.add_trace(
            go.Scatter(
                x=[rounded(suggested.low), rounded(suggested.high)],
                y=[rounded(y)] * 2,
                name=f"range for {optimizer}",
                mode="lines",
                line={"color": colour, "width": 6},
                opacity=0.6,
                hovertemplate=f"range for {optimizer}: {number(suggested.low, 2)} to "
                f"{number(suggested.high, 2)}<extra></extra>",
            )
        )
