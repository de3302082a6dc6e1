"""A schedule at work on an optimizer: linear warm-up, then one of torch's own schedulers."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any, SupportsFloat

import torch
from torch.optim import lr_scheduler

from lrsearch.errors import UserError
from lrsearch.own_code import call_own
from lrsearch.schedules.own import build_own
from lrsearch.schedules.plan import TorchCall

# torch calls the state of a scheduler `dict[str, Any]`.
State = dict[str, Any]


class Schedule(lr_scheduler.LRScheduler):
    """The learning-rate scheduler of a recipe; drives `optimizer.param_groups[i]["lr"]`.

    Call `step()` after each optimizer step and `evaluated(metrics)` after each evaluation. torch's
    SequentialLR refuses ReduceLROnPlateau and replays constructors, so the warm-up stands before
    the scheduler here: it ramps linearly to the scheduler's own first rate, and the scheduler
    (its patience, too) starts when the ramp ends.

    The first group has the peak rate `lr`. The others keep their ratio to it: their `lr_factor`
    where they have one, or else the ratio of the rates (`initial_lr` before `lr`) that the groups
    have when the schedule is built. Raises UserError where the first of these is zero and another
    is not.

    After `total_steps` steps the last rate is held.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        call: TorchCall,
        *,
        lr: float,
        total_steps: int,
        warmup_steps: int = 0,
    ) -> None:
        # As torch's own SequentialLR does, this leaves LRScheduler.__init__ to the schedulers
        # that it is made of: it would take a step.
        self.optimizer = optimizer
        self.monitor = call.monitor
        self.total_steps = total_steps
        self.warmup_steps = warmup_steps
        self.last_epoch = 0
        self._step_count = 1
        groups = optimizer.param_groups
        self._factors = _factors(groups)
        for group in groups:
            # What an earlier schedule left in the groups is not for this one to start from.
            group.pop("initial_lr", None)
        self._set_rates(lr)
        self.base_lrs = list(self.rates)
        self._call = call
        self._main: Any = (
            build_own(call, optimizer)
            if call.is_own
            else getattr(lr_scheduler, call.scheduler)(optimizer, **call.arguments)
        )
        self._threshold = float(getattr(self._main, "threshold", 0.0))
        self._first_rate = float(groups[0]["lr"])
        self._warmup: lr_scheduler.LinearLR | None = None
        if warmup_steps:
            # The first step trains at 1/(n+1) of the rate, not at zero.
            self._warmup = lr_scheduler.LinearLR(
                optimizer, start_factor=1 / (warmup_steps + 1), total_iters=warmup_steps
            )
        self._set_rates(groups[0]["lr"])
        for group, factor in zip(groups[1:], self._factors[1:], strict=True):
            # A later schedule on this optimizer finds the same proportions.
            if "initial_lr" in groups[0]:
                group["initial_lr"] = groups[0]["initial_lr"] * factor / self._factors[0]

    @property
    def rates(self) -> list[float]:
        """The learning rate of each parameter group, as the optimizer holds it now."""
        return [float(group["lr"]) for group in self.optimizer.param_groups]

    def step(self, metrics: SupportsFloat | Mapping[str, float] | None = None) -> None:
        """Advance by one optimizer step; given metrics, only take note of them as `evaluated` does.

        A number is the value of the watched metric. Steps beyond the end change nothing, and the
        first of them warns.
        """
        if metrics is not None:
            self.evaluated(metrics)
            return
        self.last_epoch += 1
        self._step_count += 1
        if self.last_epoch > self.total_steps:
            if self.last_epoch == self.total_steps + 1:
                warnings.warn(
                    f"the schedule was built for {self.total_steps} steps and is stepped beyond "
                    f"its end: it holds its last rate, {self.rates[0]:.4g}",
                    stacklevel=2,
                )
        elif self._warmup is not None and self.last_epoch <= self.warmup_steps:
            self._warmup.step()
            # At its end exactly the rate from which the scheduler's recursion starts.
            is_over = self.last_epoch == self.warmup_steps
            self._set_rates(self._first_rate if is_over else self._leading_rate)
        elif self.monitor is None:
            self._step_main()

    def evaluated(self, metrics: SupportsFloat | Mapping[str, float]) -> None:
        """Take note of an evaluation: of all its metrics by name, or of the watched one's value.

        Only a schedule with a `monitor` makes use of it. Raises KeyError without that metric.
        """
        if self.monitor is None or not self.warmup_steps <= self.last_epoch <= self.total_steps:
            return
        value = metrics[self.monitor] if isinstance(metrics, Mapping) else metrics
        if getattr(self._main, "threshold_mode", None) == "rel":
            self._main.threshold = self._threshold_now()
        self._step_main(value)

    def get_lr(self) -> list[float | torch.Tensor]:
        """The rate of each parameter group at this step."""
        return list(self.rates)

    def state_dict(self) -> State:
        """All that `load_state_dict` needs; plain values, loadable with `weights_only=True`."""
        return {
            "last_epoch": self.last_epoch,
            "first_rate": self._first_rate,
            "main": self._main.state_dict(),
            "warmup": None if self._warmup is None else self._warmup.state_dict(),
            "rates": self.rates,
        }

    def load_state_dict(self, state: State) -> None:
        """Continue where `state_dict` was taken, on the same recipe and length."""
        self.last_epoch = state["last_epoch"]
        self._step_count = self.last_epoch + 1
        self._first_rate = state["first_rate"]
        # Copies, because CyclicLR takes items out of what it is given.
        self._main.load_state_dict(dict(state["main"]))
        if self._warmup is not None:
            self._warmup.load_state_dict(dict(state["warmup"]))
        for group, rate in zip(self.optimizer.param_groups, state["rates"], strict=True):
            _set_rate(group, rate)
        self._last_lr = list(self.rates)

    def __setstate__(self, state: State) -> None:
        """Restore a copy or a pickled schedule."""
        self.__dict__.update(state)
        scheduler: Any
        for scheduler in (self._main, self._warmup):
            # At their second step torch's schedulers look for a mark that they made on
            # `optimizer.step`, and warn. A copy of an optimizer does not have it.
            if getattr(scheduler, "_step_count", None) == 1:
                scheduler._step_count = 2

    def _step_main(self, *metrics: SupportsFloat) -> None:
        """Step torch's scheduler. Raises UserError where one of the user's own sets no rate."""
        if not self._call.is_own:
            self._main.step(*metrics)
        else:
            call_own(self._main.step, self._call.path, *metrics)
            if not 0 <= float(self._leading_rate) < math.inf:
                raise UserError(
                    f"scheduler: {self._call.path} sets the rate {self.rates[0]} at step "
                    f"{self.last_epoch}: it must be 0 or more, and finite"
                )
        self._set_rates(self._leading_rate)

    @property
    def _leading_rate(self) -> Any:
        return self.optimizer.param_groups[0]["lr"]

    def _set_rates(self, lr: Any) -> None:
        """Give the first group this rate, and the others theirs in proportion."""
        groups = self.optimizer.param_groups
        _set_rate(groups[0], lr)
        for group, factor in zip(groups[1:], self._factors[1:], strict=True):
            _set_rate(group, groups[0]["lr"] * factor / self._factors[0])
        self._last_lr = list(self.rates)

    def _threshold_now(self) -> float:
        """The threshold for torch's `best * (1 - threshold)`, so that it means what it should.

        A better value has to beat the best by `threshold * abs(best)`; below zero torch would take
        a worse one, or with `mode="max"` none, for a gain.
        """
        threshold, best = self._threshold, self._main.best
        return math.copysign(threshold, best) if math.isfinite(best) else threshold


def _factors(groups: list[dict[str, Any]]) -> list[float]:
    """The rate of each group in proportion to that of the others."""
    rates = [float(group.get("initial_lr", group["lr"])) for group in groups]
    first = float(groups[0].get("lr_factor", 1.0))
    factors = []
    for group, rate in zip(groups, rates, strict=True):
        if "lr_factor" in group:
            factors.append(float(group["lr_factor"]))
        elif rate == rates[0]:
            factors.append(first)
        elif rates[0] == 0:
            raise UserError(
                f"the optimizer's parameter groups have the rates {rates}: the schedule sets the "
                f"first one and keeps the others in proportion to it, so the first must not be 0"
            )
        else:
            factors.append(first * (rate / rates[0]))
    return factors


def _set_rate(group: dict[str, Any], rate: Any) -> None:
    """Set a group's rate; a tensor keeps its identity, for a compiled optimizer step holds it."""
    if isinstance(group["lr"], torch.Tensor):
        group["lr"].fill_(rate)
    else:
        group["lr"] = rate
