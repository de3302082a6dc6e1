"""The loss curves of a range test, as a plot in the terminal and as a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lrsearch.plots.palette import PLAIN, nth_dash
from lrsearch.plots.static.curves import Curve
from lrsearch.plots.static.figure import Kind, encoded, entitle, line, log_axis, new_figure
from lrsearch.plots.terminal import Paper, text_plot
from lrsearch.range_test.curve import mean_curves

if TYPE_CHECKING:
    from lrsearch.range_test.result import RangeTest


def in_text(test: RangeTest, on: Paper) -> str:
    """Draw a plot for each optimizer, with a curve for each batch size; return the text."""
    plots = []
    for optimizer in test.optimizers:
        curves = [
            Curve(f"batch {curve.batch_size}", curve.rates, curve.losses)
            for curve in mean_curves(test.ramps)
            if curve.optimizer == optimizer
        ]
        title = f"{optimizer}: training loss, smoothed"
        plots.append(text_plot(curves, title, on, "learning rate", log_x=True))
    return "\n".join(plots)


def as_file(test: RangeTest, title: str, kind: Kind) -> bytes:
    """Draw a plot for each optimizer, one above the other, with a curve for each batch size.

    Diamonds mark the rate at which the loss falls fastest, crosses the largest rate that trains.
    Returns the contents of a file.
    """
    count = len(test.optimizers)
    figure = new_figure(height=1.0 + 3.0 * count)
    plots = figure.subplots(count, 1, sharex=True, squeeze=False)[:, 0]
    sizes = sorted({ramp.batch_size for ramp in test.ramps})
    for axes, optimizer in zip(plots, test.optimizers, strict=True):
        curves = [curve for curve in mean_curves(test.ramps) if curve.optimizer == optimizer]
        for curve in curves:
            line_style = line(nth_dash(sizes.index(curve.batch_size)))
            axes.plot(
                curve.rates,
                curve.losses,
                label=f"batch {curve.batch_size}",
                color=PLAIN,
                linestyle=line_style,
            )
            for finding in test.findings:
                if (finding.optimizer, finding.batch_size) == (optimizer, curve.batch_size):
                    for spread, shape in ((finding.steepest, "D"), (finding.largest, "X")):
                        if spread is not None:
                            at = [spread.value], [curve.loss_at(spread.value)]
                            axes.plot(*at, color=PLAIN, marker=shape, markersize=7, linestyle="")
        log_axis(axes, "x", [rate for curve in curves for rate in curve.rates])
        axes.set_ylabel(f"{optimizer}: training loss")
        axes.grid(alpha=0.3)
        axes.legend(frameon=False, fontsize=8)
    entitle(plots[0], f"{title}\ndiamonds: falls fastest; crosses: largest rate that trains")
    plots[-1].set_xlabel("learning rate")
    return encoded(figure, kind)
