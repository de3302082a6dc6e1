"""How often to save checkpoints, so that saving costs a small share of the training time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SHARE = 0.02
"""The largest share of the training time that may be spent on saving checkpoints."""
FIRST_AFTER = 5.0
"""Seconds of training before the first save; fewer are cheaper to repeat than to save."""


class Pace:
    """Decide when the next save is due, from the measured cost of the saves so far.

    The first save is due after `first_after` seconds.
    """

    def __init__(
        self, clock: Callable[[], float] = time.perf_counter, first_after: float = FIRST_AFTER
    ) -> None:
        self._clock, self._first_after = clock, first_after
        self._began = clock()
        self._spent: float | None = None

    def due(self) -> bool:
        """Whether the saves so far took at most `SHARE` of the training time."""
        if self._spent is None:
            return self._clock() - self._began >= self._first_after
        training = self._clock() - self._began - self._spent
        return self._spent <= SHARE * training

    @contextmanager
    def saving(self) -> Iterator[None]:
        """Measure the time of the save in this block; use it for every save, due or not."""
        started = self._clock()
        try:
            yield
        finally:
            self._spent = (self._spent or 0.0) + self._clock() - started
