"""The figure of a range test: the loss over a rising learning rate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lrsearch.plots.interactive.style import log_axis, new_figure, rounded
from lrsearch.plots.palette import BEST, PLAIN, nth_dash
from lrsearch.range_test.curve import MeanCurve, mean_curves
from lrsearch.range_test.result import RangeTest
from lrsearch.text.formatting import number

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_HEIGHT_OF_EACH = 300


def ramps(test: RangeTest | None) -> Figure | None:
    """Draw the loss for each optimizer and batch size, the rates found, and their ranges as bars.

    The optimizers are below each other. None without a range test, or without a curve of it.
    """
    curves = [] if test is None else mean_curves(test.ramps)
    if test is None or not curves:
        return None
    figure = new_figure(
        "learning rate", "", grid={"rows": len(test.optimizers), "columns": 1, "ygap": 0.12},
        height=120 + _HEIGHT_OF_EACH * len(test.optimizers), showlegend=True,
    )  # fmt: skip
    sizes = sorted({curve.batch_size for curve in curves})
    for row, optimizer in enumerate(test.optimizers, 1):
        own = [curve for curve in curves if curve.optimizer == optimizer]
        axis = "y" if row == 1 else f"y{row}"
        title = f"{optimizer}: training loss (smoothed)"
        figure.update_layout({f"yaxis{axis[1:]}": {"title": {"text": title}}})
        for curve in own:
            _add_curve(figure, test, curve, nth_dash(sizes.index(curve.batch_size)), axis)
        if own:
            bottom = min(min(curve.losses) for curve in own)
            height = max(max(curve.losses) for curve in own) - bottom
            _add_range(figure, test, optimizer, bottom - 0.08 * height, axis)
    figure.update_xaxes(log_axis(rate for curve in curves for rate in curve.rates))
    return figure


def _add_curve(figure: Figure, test: RangeTest, curve: MeanCurve, dash: str, axis: str) -> None:
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
            yaxis=axis,
            line={"color": PLAIN, "dash": dash, "width": 2},
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
                marker = {"color": PLAIN, "symbol": symbol, "size": 10}
                figure.add_trace(
                    go.Scatter(
                        x=[rounded(spread.value)],
                        y=[rounded(curve.loss_at(spread.value))],
                        name=what,
                        legendgroup=name,
                        showlegend=False,
                        yaxis=axis,
                        mode="markers",
                        marker=marker,
                        hovertemplate=f"{name}: {what}, %{{x}} ({number(spread.low, 2)} to "
                        f"{number(spread.high, 2)} over the seeds)<extra></extra>",
                    )
                )


def _add_range(figure: Figure, test: RangeTest, optimizer: str, y: float, axis: str) -> None:
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
                yaxis=axis,
                line={"color": BEST, "width": 6},
                opacity=0.6,
                hovertemplate=f"range for {optimizer}: {number(suggested.low, 2)} to "
                f"{number(suggested.high, 2)}<extra></extra>",
            )
        )
