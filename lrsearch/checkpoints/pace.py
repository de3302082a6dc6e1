"""How often it is worth saving: what saving may cost."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SHARE = 0.02
"""The largest share of a training's time that saving by itself may take."""
FIRST_AFTER = 5.0
"""Seconds of training that are worth a first save: fewer are sooner trained again."""


class Pace:
    """Measures what saving costs. The first save is due after `first_after` seconds."""

    def __init__(
        self, clock: Callable[[], float] = time.perf_counter, first_after: float = FIRST_AFTER
    ) -> None:
        self._clock, self._first_after = clock, first_after
        self._began = clock()
        self._spent: float | None = None

    def due(self) -> bool:
        """Whether another save is worth its time."""
        if self._spent is None:
            return self._clock() - self._began >= self._first_after
        training = self._clock() - self._began - self._spent
        return self._spent <= SHARE * training

    @contextmanager
    def saving(self) -> Iterator[None]:
        """Around each save, also around one that is done whatever it costs."""
        started = self._clock()
        try:
            yield
        finally:
            self._spent = (self._spent or 0.0) + self._clock() - started
