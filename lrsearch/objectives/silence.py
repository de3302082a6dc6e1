"""How long a training loop of the user's own may be silent: the rule, and a watch that counts."""

from __future__ import annotations

import time
from collections.abc import Callable

SHORTEST = 3600.0
"""Shortest limit, in seconds, that lrsearch sets by itself."""
GAPS = 10
"""The limit, in its longest times to a report so far."""
FIRST = 24 * SHORTEST
"""The limit before its first report, in seconds: how long an epoch takes is not known yet."""
_LONGEST_CHECK = 2.0
"""Seconds between two checks that are counted at most: in a longer gap this process did not run."""


def silence_limit(longest_gap: float | None) -> float:
    """Return the seconds without a sign of life after which a loop counts as stalled.

    `longest_gap` is the longest time from the start or a report to the next report; None before the
    first one.
    """
    return FIRST if longest_gap is None else max(SHORTEST, GAPS * longest_gap)


class Silence:
    """The time since a script has last shown that it is alive, and the longest one allowed.

    Only seconds in which this process could run are counted.
    """

    def __init__(
        self,
        timeout: float | None,
        clock: Callable[[], float] = time.monotonic,
        startup: float = 0.0,
    ) -> None:
        """Begin to count. `timeout` is the limit in seconds; None follows from its reports.

        `startup` are the seconds that do not count before the first sign of life.
        """
        self._timeout, self._clock = timeout, clock
        self.seconds = -startup
        """Seconds of silence so far."""
        self._checked_at = self._reported_at = clock()
        self._longest_gap: float | None = None

    def broken(self, is_report: bool = False) -> None:
        """Note a sign of life."""
        self.seconds = 0.0
        if is_report:
            now = self._clock()
            self._longest_gap = max(self._longest_gap or 0.0, now - self._reported_at)
            self._reported_at = now

    def exceeded(self) -> float | None:
        """Return the seconds of silence where they are too many, else None."""
        now = self._clock()
        self.seconds += min(now - self._checked_at, _LONGEST_CHECK)
        self._checked_at = now
        limit = silence_limit(self._longest_gap) if self._timeout is None else self._timeout
        return self.seconds if self.seconds > limit else None
