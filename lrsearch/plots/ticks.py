"""Ticks of logarithmic axes, at numbers that people use, and labels as people write them."""

from __future__ import annotations

import math
from collections.abc import Iterable

_MOST_TICKS = 8
# From the finest to the coarsest. A coarser set than the last has not all powers of ten.
_STEPS = ((1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8), (1, 1.5, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,))
_SMALLEST_PLAIN, _PLAIN_BELOW = 0.01, 1e5
_ROOM = 1.5


def tick_label(value: float) -> str:
    """Write a number for an axis: `0.05`, `1e-3`, `2.5e-4`, `20000`, `1e6`."""
    if value == 0 or _SMALLEST_PLAIN <= abs(value) < _PLAIN_BELOW:
        return f"{value:g}"
    mantissa, _, exponent = f"{value:.6e}".partition("e")
    return f"{float(mantissa):g}e{int(exponent)}"


def log_ticks(values: Iterable[float | None]) -> list[float]:
    """Ticks for a logarithmic axis of these values, at most eight; empty without positive values.

    They are at 1, 2 and 5 times powers of ten, at finer steps where the values are close together,
    and at powers of ten alone where they are far apart.
    """
    known = [value for value in values if value is not None and math.isfinite(value) and value > 0]
    if not known:
        return []
    low, high = min(known) / _ROOM, max(known) * _ROOM
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in _STEPS:
        ticks = [float(f"{step}e{power}") for power in powers for step in steps]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if len(ticks) <= _MOST_TICKS:
            return ticks
    every = math.ceil(len(ticks) / _MOST_TICKS)
    return [tick for tick in ticks if round(math.log10(tick)) % every == 0]
