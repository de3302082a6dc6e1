"""A schedule at work on an optimizer: linear warm-up, then one of torch's own schedulers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch.optim import lr_scheduler

from lrsearch.schedules.plan import Call

# torch calls the state of a scheduler `dict[str, Any]`.
State = dict[str, Any]


class Schedule:
    """Drives `optimizer.param_groups[i]["lr"]`.

    Call `step()` after each optimizer step and `evaluated(metrics)` after each evaluation. torch's
    SequentialLR refuses ReduceLROnPlateau and replays constructors, so the warm-up stands before
    the scheduler here: it ramps linearly to the scheduler's own first rate, and the scheduler
    (its patience, too) starts when the ramp ends.

    Groups other than the first follow it, times their `lr_factor` (1 when absent).
    """

    def __init__(self, optimizer: torch.optim.Optimizer, call: Call, warmup_steps: int = 0) -> None:
        self.optimizer = optimizer
        self.monitor = call.monitor
        self.warmup_steps = warmup_steps
        self.steps = 0
        groups = optimizer.param_groups
        self._factors = [float(group.get("lr_factor", 1.0)) for group in groups]
        self._threshold = float(call.arguments.get("threshold", 0.0))
        self._main: Any = getattr(lr_scheduler, call.scheduler)(optimizer, **call.arguments)
        self._first_rates = [float(group["lr"]) for group in groups]
        self._warmup: lr_scheduler.LinearLR | None = None
        if warmup_steps:
            # The first step trains at 1/(n+1) of the rate, not at zero.
            self._warmup = lr_scheduler.LinearLR(
                optimizer, start_factor=1 / (warmup_steps + 1), total_iters=warmup_steps
            )
        self._follow()

    @property
    def rates(self) -> list[float]:
        """The learning rate of each parameter group, as the optimizer holds it now."""
        return [float(group["lr"]) for group in self.optimizer.param_groups]

    def step(self) -> None:
        """To be called after each optimizer step."""
        self.steps += 1
        if self._warmup is not None and self.steps <= self.warmup_steps:
            self._warmup.step()
            if self.steps == self.warmup_steps:
                # Exactly the rate from which the scheduler's recursion starts.
                for group, rate in zip(self.optimizer.param_groups, self._first_rates, strict=True):
                    group["lr"] = rate
        elif self.monitor is None:
            self._main.step()
        self._follow()

    def evaluated(self, metrics: Mapping[str, float]) -> None:
        """To be called after each evaluation. Raises KeyError without the watched metric."""
        if self.monitor is not None and self.steps >= self.warmup_steps:
            self._main.threshold = self._threshold_now()
            self._main.step(metrics[self.monitor])
            self._follow()

    def state_dict(self) -> State:
        """All that `load_state_dict` needs; plain values, loadable with `weights_only=True`."""
        return {
            "steps": self.steps,
            "first_rates": self._first_rates,
            "main": self._main.state_dict(),
            "warmup": None if self._warmup is None else self._warmup.state_dict(),
            "rates": self.rates,
        }

    def load_state_dict(self, state: State) -> None:
        """Goes on where `state_dict` was taken, on the same recipe and length."""
        self.steps = state["steps"]
        self._first_rates = state["first_rates"]
        self._main.load_state_dict(state["main"])
        if self._warmup is not None:
            self._warmup.load_state_dict(state["warmup"])
        for group, rate in zip(self.optimizer.param_groups, state["rates"], strict=True):
            group["lr"] = rate

    def _threshold_now(self) -> float:
        """The threshold for torch's `best * (1 - threshold)`, so that it means what it should.

        A better value has to beat the best by `threshold * abs(best)`; below zero torch would take
        a worse one, or with `mode="max"` none, for a gain.
        """
        threshold, best = self._threshold, self._main.best
        return math.copysign(threshold, best) if math.isfinite(best) else threshold

    def _follow(self) -> None:
        groups = self.optimizer.param_groups
        for group, factor in zip(groups[1:], self._factors[1:], strict=True):
            group["lr"] = groups[0]["lr"] * factor / self._factors[0]
