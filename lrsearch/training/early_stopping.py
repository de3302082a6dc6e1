"""Early stopping: the end of a training whose metric no longer improves."""

from __future__ import annotations

import math
from collections.abc import Sequence


def evaluations_without_gain(values: Sequence[float], mode: str, min_delta: float) -> int:
    """Return the number of evaluations since a metric, of the mode `min` or `max`, last improved.

    An improvement is a value that is better than the best so far by more than `min_delta`; a value
    that is not a number is none. The first number is one.
    """
    best, waited = math.inf, 0
    for value in values:
        loss = value if mode == "min" else -value
        if loss < best - min_delta:
            best, waited = loss, 0
        else:
            waited += 1
    return waited
