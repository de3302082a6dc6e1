"""Linear or logarithmic scale, ticks, and thinning of points."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

_RATIO_FOR_LOG = 30.0


def wants_log(values: Iterable[float]) -> bool:
    """Whether a logarithmic scale shows them better: all above 0, a quarter far below the highest.

    A few that go to 0 at the end, as a cosine does, would stretch it out of shape.
    """
    known = sorted(value for value in values if math.isfinite(value))
    return bool(known) and known[0] > 0 and known[-1] / known[len(known) // 4] > _RATIO_FOR_LOG


def even_ticks(low: float, high: float, count: int) -> list[float]:
    """`count` positions from `low` to `high` at the same distances; or the one."""
    if low == high:
        return [low]
    shares = [k / (count - 1) for k in range(count)]
    return [low * (1 - share) + high * share for share in shares]


def thinned(x: Sequence[float], y: Sequence[float], most: int) -> tuple[list[float], list[float]]:
    """About `most` of the points: the first, the last, and the ends of each stretch in between.

    Of each stretch its lowest and its highest point stay, so that no jump or peak is lost.
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
