"""The formatting of numbers, durations, sizes and lists for people, used everywhere.

Values in files (CSV, JSON, YAML) are written with all digits instead, without these functions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

LAST_PRINTED = "the last of what it printed:"
"""Ends the first line of a failure of a script; what it printed follows."""
_SMALLEST_PLAIN = 1e-4
_MOST_DIGITS = 6
"""Digits of a single-precision number that are not rounding."""
_PLAIN_BELOW = 1e7
"""The number from which on large numbers are written with an exponent."""


def number(value: float | None, digits: int = 4) -> str:
    """Format a number to `digits` significant digits, or `-` for None.

    If the integer part has more digits, it is shown in full (`12,346`) below ten million.
    """
    if value is None:
        return "-"
    text = f"{value:.{digits}g}"
    return f"{value:,.0f}" if "e+" in text and abs(value) < _PLAIN_BELOW else text


def to_error(value: float | None, error: float | None) -> str:
    """Format a number with the digits that its error allows: to the second digit of the error.

    `to_error(0.073512, 0.0021)` is `0.0735`. Without an error, or with one of 0, four digits. Six
    digits at most, since losses have no more; and a number that is not 0 keeps one at least.
    """
    if value is None or error is None or not math.isfinite(error) or error <= 0:
        return number(value)
    if not math.isfinite(value):
        return number(value)
    places = 1 - math.floor(math.log10(error))
    if value:
        places = min(places, _MOST_DIGITS - 1 - math.floor(math.log10(abs(value))))
    rounded = round(value, places)
    if not rounded and error < _SMALLEST_PLAIN:
        return "0"
    if value and not rounded:
        return number(value, 1)
    if abs(rounded) >= _PLAIN_BELOW or 0 < abs(rounded) < _SMALLEST_PLAIN:
        return number(value, max(1, places + 1 + math.floor(math.log10(abs(value)))))
    return f"{rounded:,.{max(0, places)}f}"


def percent(share: float) -> str:
    """Format a share between 0 and 1 as a whole percentage.

    It is 0 % only for nothing and 100 % only for all: one of 252 is `under 1 %`.
    """
    whole = f"{100 * share:.0f}"
    if whole == "0" and share > 0:
        return "under 1 %"
    if whole == "100" and share < 1:
        return "over 99 %"
    return f"{whole} %"


def probability(share: float) -> str:
    """Format a probability as a whole percentage, never as 0 % or 100 %."""
    if share > 0.99:
        return "over 99 %"
    return "under 1 %" if share < 0.01 else percent(share)


def duration(seconds: float | None) -> str:
    """Format seconds: `3.2s`, `4m10s`, `2h05m`; `-` for None, `unknown` if not finite."""
    if seconds is None:
        return "-"
    if not math.isfinite(seconds):
        return "unknown"
    if round(seconds, 1) < 60:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}m{rest:02d}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m"


def clock(seconds: float) -> str:
    """Format seconds that are counted, or estimated, as a whole number: `42s`, `4m10s`, `2h05m`."""
    return f"{round(seconds)}s" if round(seconds) < 60 else duration(float(round(seconds)))


def byte_size(n_bytes: float) -> str:
    """Format a number of bytes in MiB, from 10 GiB on in GiB."""
    mebibytes = n_bytes / 2**20
    return f"{mebibytes / 1024:,.1f} GiB" if mebibytes >= 10 * 1024 else f"{mebibytes:,.0f} MiB"


def plural(count: float, noun: str) -> str:
    """Format a count with its noun: `1 trial`, `2 trials`, `0.5 epochs`, `3 processes`."""
    written = f"{count:,}" if isinstance(count, int) else f"{count:g}"
    ending = "" if count == 1 else "es" if noun.endswith("s") else "s"
    return f"{written} {noun}{ending}"


def listed(words: Sequence[str]) -> str:
    """Join words into a list: `a, b and c`."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"


def sentence(text: str) -> str:
    """Begin a text with a capital letter."""
    return text[:1].upper() + text[1:]


def the_best(count: int) -> str:
    """Name the best `count` trials: `the best 3`, or `the best`."""
    return f"the best {count}" if count > 1 else "the best"


def failure_cause(reason: str | None) -> str:
    """Return in one line why a trial failed; an empty string where nothing is known.

    That is the last line of a traceback. Of a script's failure it is the first line, which says how
    the script ended, with the last line that it printed.
    """
    lines = (reason or "").strip().splitlines()
    if not lines:
        return ""
    if not lines[0].endswith(LAST_PRINTED):
        return lines[-1]
    worded = [line for line in lines if any(map(str.isalnum, line))]  # no rulers
    return f"{lines[0]} {worded[-1]}" if len(worded) > 1 else lines[0]
