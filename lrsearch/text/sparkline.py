"""Sparklines: small curves in one line of text."""

from __future__ import annotations

import math
from collections.abc import Sequence

_BLOCKS = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float | None], width: int) -> str:
    """Draw values as blocks from the lowest to the highest, in at most `width` characters.

    Of several values in one place the last one is drawn; one that is None or not finite is a space.
    Fewer than two values are no curve: an empty text.
    """
    if len(values) < 2 or width < 1:
        return ""
    places = min(width, len(values))
    drawn = [values[(k + 1) * len(values) // places - 1] for k in range(places)]
    known = [value for value in drawn if value is not None and math.isfinite(value)]
    low, high = min(known, default=0.0), max(known, default=0.0)

    def block(value: float | None) -> str:
        if value is None or not math.isfinite(value):
            return " "
        height = (value - low) / (high - low) if high > low else 0.0
        return _BLOCKS[round(height * (len(_BLOCKS) - 1))]

    return "".join(map(block, drawn))
