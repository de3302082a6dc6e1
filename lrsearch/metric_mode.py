"""Whether less or more of a metric is better, as far as its name says."""

from __future__ import annotations

from typing import Literal

Mode = Literal["min", "max"]

BETTER: dict[str, Mode] = {"accuracy": "max", "top5_accuracy": "max", "mae": "min"}
"""The metrics of the catalogue."""


def mode_of(name: str) -> Mode | None:
    """The mode of a metric such as `val_loss` or `val_accuracy`; None where its name says none."""
    if name.endswith("loss"):
        return "min"
    measured = name.removeprefix("val_")
    return next((mode for known, mode in BETTER.items() if measured.endswith(known)), None)
