"""Schedulers of the user's own, named by a dotted path.

Either a function `factor(progress, **arguments)` that returns the rate as a share of the peak, or a
subclass of torch's `LRScheduler`, which is stepped after each optimizer step. A subclass of
`ReduceLROnPlateau` is stepped with `val_loss` after each evaluation instead.
"""

from __future__ import annotations

import inspect
import io
import re
from collections.abc import Collection
from typing import TYPE_CHECKING

from lrsearch.errors import UserError, in_short
from lrsearch.own_code import call_own, load_target
from lrsearch.parameters.durations import Duration
from lrsearch.schedules.plan import FactorFunction, ScheduleInputs, TorchCall

if TYPE_CHECKING:
    import torch

_WHERE = "scheduler"
_LIKE_A_DURATION = re.compile(r"\d+(\.\d+)?(ep|st)")


def own_call(target: str, durations: Collection[str], inputs: ScheduleInputs) -> TorchCall:
    """The torch call for the user's function or class at the dotted path `target`.

    `inputs.parameters` are its arguments. Those named in `durations` are converted to steps, or to
    evaluations for a subclass of `ReduceLROnPlateau`.

    Raises UserError if it cannot be imported, or is a class that is no scheduler of torch.
    """
    function = load_target(target, _WHERE)
    count = inputs.length.in_steps
    monitor = None
    if inspect.isclass(function):
        from torch.optim import lr_scheduler

        if not issubclass(function, lr_scheduler.LRScheduler):
            raise UserError(
                f"{_WHERE}: {target} is a class, but not a subclass of "
                f"torch.optim.lr_scheduler.LRScheduler: name such a class, or a function "
                f"factor(progress) that returns the rate as a share of the peak"
            )
        if issubclass(function, lr_scheduler.ReduceLROnPlateau):
            count, monitor = inputs.length.in_evaluations, "val_loss"
    elif durations:
        raise UserError(
            f"{_WHERE}: {target} is a function of progress, the share of the training that is "
            f"over: it has no durations, so leave out duration of {', '.join(sorted(durations))}"
        )
    for name, value in inputs.parameters.items():
        if name not in durations and _LIKE_A_DURATION.fullmatch(str(value)):
            raise UserError(
                f"{_WHERE}: {target} gets {name}={value!r} as it stands, and it looks like a "
                f"duration: to give it in steps, write {name}: {{value: {value}, duration: true}}"
            )
    arguments = {
        name: count(Duration.parse(value)) if name in durations else value
        for name, value in inputs.parameters.items()
    }
    if inspect.isclass(function):
        return TorchCall(target, arguments, monitor)
    factor = FactorFunction(target, arguments, inputs.length.steps, inputs.warmup_steps)
    return TorchCall("LambdaLR", {"lr_lambda": factor})


def build_own(
    call: TorchCall, optimizer: torch.optim.Optimizer
) -> torch.optim.lr_scheduler.LRScheduler:
    """Build a scheduler of the user's own class on an optimizer.

    Raises OwnCodeError if the class raises, and UserError if its state cannot be loaded with
    `weights_only=True`, which resuming needs.
    """
    import torch

    scheduler = call_own(load_target(call.path, _WHERE), call.path, optimizer, **call.arguments)
    file = io.BytesIO()
    try:
        torch.save(scheduler.state_dict(), file)
        file.seek(0)
        torch.load(file, weights_only=True)
    except Exception as error:  # noqa: BLE001 - pickle raises what the user's objects raise
        raise UserError(
            f"{_WHERE}: a training with {call.path} could not be resumed: its state_dict() must "
            f"hold plain values and tensors alone ({type(error).__name__}: {in_short(str(error))})"
        ) from None
    built: torch.optim.lr_scheduler.LRScheduler = scheduler
    return built
