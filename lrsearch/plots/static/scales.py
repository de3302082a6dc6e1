"""The choice of a linear or logarithmic axis, ticks, and thinning of points."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

_RATIO_FOR_LOG = 30.0
"""The highest value over the lower quartile from which on an axis is logarithmic."""


def wants_log(values: Iterable[float]) -> bool:
    """Whether values are better drawn on a logarithmic axis.

    All must be positive, and a quarter of them far below the highest. A few low values alone, such
    as those at the end of a cosine, do not count: they would stretch a logarithmic axis.
    """
    known = sorted(value for value in values if math.isfinite(value))
    return bool(known) and known[0] > 0 and known[-1] / known[len(known) // 4] > _RATIO_FOR_LOG


def even_ticks(low: float, high: float, count: int) -> list[float]:
    """`count` positions from `low` to `high` at equal distances; one if both are equal."""
    if low == high:
        return [low]
    shares = [k / (count - 1) for k in range(count)]
    return [low * (1 - share) + high * share for share in shares]


def thinned(x: Sequence[float], y: Sequence[float], most: int) -> tuple[list[float], list[float]]:
    """Keep about `most` points of a curve: the first, the last, and the extremes in between.

    The curve is divided into stretches, of which the lowest and the highest point are kept, so that
    no jump or peak is lost.
    """
    if len(x) <= most:
        return list(x), list(y)
    stretches = max(1, most // 2)
    kept = {0, len(x) - 1}
    for k in range(stretches):
        first, last = k * len(x) // stretches, (k + 1) * len(x) // stretches
        indices = range(first, last)
        kept |= {min(indices, key=y.__getitem__), max(indices, key=y.__getitem__)}
    order = sorted(kept)
    return [x[k] for k in order], [y[k] for k in order]
