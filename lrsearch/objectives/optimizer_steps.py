"""How often a schedule is stepped for each step of its optimizer."""

from __future__ import annotations

import weakref
from collections import Counter
from typing import Any

import torch

from lrsearch.schedules.schedule import Schedule

FEWEST = 3
"""Fewest times between two optimizer steps that show how often the schedule is stepped."""
_SKIPPED = 64
"""The same where a gradient scaler may skip the first steps: it halves its scale each time."""


class OptimizerSteps:
    """Counts the steps of an optimizer, and how often its schedule is stepped between them."""

    def __init__(self, schedule: Schedule) -> None:
        self.done = 0
        self.first = 0
        """The schedule's step at the first of them: above 0 in a training that was resumed."""
        self._between: Counter[int] = Counter()
        self._last = 0
        self._is_scaled = False
        # The optimizer must not keep its own schedule and model alive until the next garbage
        # collection.
        self._schedule = weakref.ref(schedule)
        optimizer: Any = schedule.optimizer
        while optimizer is not None:
            try:
                optimizer.register_step_post_hook(self._stepped)
                return
            except AttributeError:  # such as Accelerate's, around another one
                optimizer = getattr(optimizer, "optimizer", None)

    def pace(self) -> float | None:
        """How often the schedule is stepped for each step; None where that is once or not known.

        With several processes it may be stepped once for each, as Accelerate does. The number that
        most steps have counts: a gradient scaler may skip some of either.
        """
        seen = sum(self._between.values())
        if seen < FEWEST:
            return None
        pace, count = self._between.most_common(1)[0]
        if 2 * count <= seen or pace in (1, _processes()):
            return None
        return None if pace == 0 and self._is_scaled and seen < _SKIPPED else pace

    def _stepped(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        schedule = self._schedule()
        if schedule is None:
            return
        at = schedule.last_epoch
        if self.done:
            self._between[at - self._last] += 1
        else:
            self.first = at
        self._last = at
        self.done += 1
        # Optimizers that take the scaler's verdict themselves are called for skipped steps, too.
        self._is_scaled = self._is_scaled or hasattr(optimizer, "found_inf")


def _processes() -> int:
    """The number of processes that train together."""
    distributed = torch.distributed
    if not (distributed.is_available() and distributed.is_initialized()):
        return 1
    return distributed.get_world_size()
