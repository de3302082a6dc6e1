"""The curve of several seeds, for pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lrsearch.range_test.curve import Ramp, drawn


@dataclass(frozen=True)
class MeanCurve:
    """Smoothed losses over rates, the mean of the seeds at one batch size."""

    optimizer: str
    batch_size: int
    rates: tuple[float, ...]
    losses: tuple[float, ...]


def mean_curves(ramps: Sequence[Ramp]) -> list[MeanCurve]:
    """A curve for each optimizer and batch size, as far as all seeds got."""
    groups: dict[tuple[str, int], list[tuple[list[float], list[float]]]] = {}
    for ramp in ramps:
        groups.setdefault((ramp.optimizer, ramp.batch_size), []).append(drawn(ramp))
    curves = []
    for (optimizer, size), several in groups.items():
        length = min(len(rates) for rates, _ in several)
        losses = np.mean([losses[:length] for _, losses in several], axis=0)
        curves.append(
            MeanCurve(optimizer, size, tuple(several[0][0][:length]), tuple(losses.tolist()))
        )
    return [curve for curve in curves if curve.rates]
