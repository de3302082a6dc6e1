"""Numbers and lists as sentences have them."""

from __future__ import annotations

import math
from collections.abc import Sequence


def number(value: float, digits: int = 4) -> str:
    """So many significant digits; whole numbers as they are."""
    text = f"{value:.{digits}g}"
    return f"{value:,.0f}" if "e+" in text else text


def plural(count: float, noun: str) -> str:
    """`1 trial`, `2 trials`, `0.5 epochs`."""
    written = f"{count:,}" if isinstance(count, int) else f"{count:g}"
    return f"{written} {noun}{'' if count == 1 else 's'}"


def listed(words: Sequence[str]) -> str:
    """`a, b and c`."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"


def percent(share: float) -> str:
    """A share of one as whole percent."""
    return f"{100 * share:.0f} %"


def chance(share: float) -> str:
    """A probability as whole percent; none is certain."""
    if share > 0.99:
        return "over 99 %"
    return "under 1 %" if share < 0.01 else percent(share)


def hours(seconds: float) -> str:
    """`42 s`, `3.5 min`, `2.1 h`."""
    if not math.isfinite(seconds):
        return "unknown"
    if seconds < 60:
        return f"{number(seconds, 2)} s"
    return f"{number(seconds / 60, 2)} min" if seconds < 3600 else f"{number(seconds / 3600, 3)} h"


def sentence(text: str) -> str:
    """With a capital letter at its start."""
    return text[:1].upper() + text[1:]


def confirming(candidates: int, done: int, total: int) -> str:
    """`confirming the best 3: 4 of 9 runs`."""
    return f"confirming {the_best(candidates)}: {done} of {plural(total, 'run')}"


def the_best(count: int) -> str:
    """`the best 3`, or `the best` alone."""
    return f"the best {count}" if count > 1 else "the best"
