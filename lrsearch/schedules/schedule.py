"""The schedule of a recipe on an optimizer: linear warm-up, then one of torch's schedulers."""

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
    where they have one, or else the ratio of the rates that the groups have when the schedule is
    built (`initial_lr` before `lr`, times timm's `lr_scale`). The schedule notes the ratios as the
    groups' `lr_factor`, so that a later schedule on the optimizer, or on one that has loaded its
    state, finds them. Raises UserError where the first rate is zero and another is not.

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
        # LRScheduler.__init__ is not called, as in torch's SequentialLR: it would take a step.
        self.optimizer = optimizer
        self.monitor = call.monitor
        self.total_steps = total_steps
        self.warmup_steps = warmup_steps
        self.last_epoch = 0
        self._step_count = 1
        groups = optimizer.param_groups
        self._factors = rate_factors(groups)
        _warn_of_scale(groups)
        for group in groups:
            # A rate left by an earlier schedule must not be this schedule's initial rate.
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
        for group, factor in zip(groups, self._factors, strict=True):
            group["lr_factor"] = factor
            # One of torch's schedulers that is built later begins from these rates.
            if "initial_lr" in groups[0] and group is not groups[0]:
                group["initial_lr"] = groups[0]["initial_lr"] * factor / self._factors[0]

    @property
    def rates(self) -> list[float]:
        """The learning rate of each parameter group, as the optimizer holds it now."""
        return [float(group["lr"]) for group in self.optimizer.param_groups]

    def step(self, metrics: SupportsFloat | Mapping[str, float] | None = None) -> None:
        """Advance by one optimizer step; with `metrics`, only process them, like `evaluated`.

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
            # At the end of the warm-up set exactly the rate from which the scheduler continues.
            is_over = self.last_epoch == self.warmup_steps
            self._set_rates(self._first_rate if is_over else self._leading_rate)
        elif self.monitor is None:
            self._step_main()

    def evaluated(self, metrics: SupportsFloat | Mapping[str, float]) -> None:
        """Process an evaluation: its metrics by name, or the value of the monitored metric.

        Only a schedule with a `monitor` uses it. Raises UserError if that metric is missing.
        """
        if self.monitor is None or not self.warmup_steps <= self.last_epoch <= self.total_steps:
            return
        if isinstance(metrics, Mapping) and self.monitor not in metrics:
            raise UserError(
                f"the scheduler watches {self.monitor}, which is not among what was evaluated "
                f"({', '.join(metrics) or 'nothing'}): pass it to schedule.evaluated, or give the "
                f"scheduler another `monitor`, as in space.scheduler.plateau.monitor=NAME"
            )
        value = metrics[self.monitor] if isinstance(metrics, Mapping) else metrics
        if getattr(self._main, "threshold_mode", None) == "rel":
            self._main.threshold = self._threshold_now()
        self._step_main(value)

    def get_lr(self) -> list[float | torch.Tensor]:
        """The rate of each parameter group at this step."""
        return list(self.rates)

    def state_dict(self) -> State:
        """The state that `load_state_dict` needs; plain values, loadable with `weights_only`."""
        return {
            "last_epoch": self.last_epoch,
            "first_rate": self._first_rate,
            "main": self._main.state_dict(),
            "warmup": None if self._warmup is None else self._warmup.state_dict(),
            "rates": self.rates,
        }

    def load_state_dict(self, state: State) -> None:
        """Restore the state of a schedule with the same recipe and length."""
        self.last_epoch = state["last_epoch"]
        self._step_count = self.last_epoch + 1
        self._first_rate = state["first_rate"]
        # Copies, because CyclicLR removes items from the state it loads.
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
            # At their second step torch's schedulers warn if `optimizer.step` lacks a mark that
            # they put there. A copy of an optimizer lacks it.
            if getattr(scheduler, "_step_count", None) == 1:
                scheduler._step_count = 2

    def _step_main(self, *metrics: SupportsFloat) -> None:
        """Step the main scheduler.

        Raises UserError if one of the user's own sets a rate that is negative or not finite.
        """
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
        """The rate of the first parameter group."""
        return self.optimizer.param_groups[0]["lr"]

    def _set_rates(self, lr: Any) -> None:
        """Give the first group this rate, and the others theirs in proportion."""
        groups = self.optimizer.param_groups
        _set_rate(groups[0], lr)
        for group, factor in zip(groups[1:], self._factors[1:], strict=True):
            _set_rate(group, groups[0]["lr"] * factor / self._factors[0])
        self._last_lr = list(self.rates)

    def _threshold_now(self) -> float:
        """The threshold for torch's rule `best * (1 - threshold)`, with the sign of `best`.

        An improvement must exceed `threshold * abs(best)`. With a negative `best` torch's rule
        would accept a worse value as an improvement, or with `mode="max"` never accept one.
        """
        threshold, best = self._threshold, self._main.best
        return math.copysign(threshold, best) if math.isfinite(best) else threshold


def rate_factors(groups: list[dict[str, Any]]) -> list[float]:
    """The ratios of the groups' rates to one another, from `lr_factor` or their current rates.

    timm's optimizers give all groups one rate, and a group its share of it as `lr_scale`.
    """
    rates = [
        float(group.get("initial_lr", group["lr"])) * float(group.get("lr_scale", 1.0))
        for group in groups
    ]
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


def _warn_of_scale(groups: list[dict[str, Any]]) -> None:
    """Warn where timm's `lr_scale` makes other groups train faster than the schedule's rate."""
    scales = [float(group.get("lr_scale", 1.0)) for group in groups]
    scale, largest = scales[0], max(scales)
    if "lr_factor" not in groups[0] and 0 < scale < largest:
        warnings.warn(
            f"the first parameter group has the lr_scale {scale:g} and gets the rate of the "
            f"schedule, so that groups with the lr_scale {largest:g} get "
            f"{largest / scale:.3g} times that rate: if it is meant for them, put them first with "
            f"optimizer.param_groups.reverse() before the schedule is built",
            stacklevel=4,
        )


def _set_rate(group: dict[str, Any], rate: Any) -> None:
    """Set a group's rate; a tensor is changed in place, as compiled optimizer steps hold it."""
    if isinstance(group["lr"], torch.Tensor):
        group["lr"].fill_(rate)
    else:
        group["lr"] = rate
