"""Which scale suits a set of values, and how they are thinned for the eye."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

_RATIO_FOR_LOG = 30.0


def wants_log(values: Iterable[float]) -> bool:
    """Whether a logarithmic scale shows them better: all above 0, and far apart."""
    known = [value for value in values if math.isfinite(value)]
    return bool(known) and min(known) > 0 and max(known) / min(known) > _RATIO_FOR_LOG


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
