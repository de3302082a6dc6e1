"""One small batch forward and backward, to find errors of a training before anything is stored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import torch

from lrsearch.errors import UserError
from lrsearch.measures.build import Fitted
from lrsearch.own_code import call_own
from lrsearch.training.averaging import averaged_copy
from lrsearch.training.batches import training_batches
from lrsearch.training.loop import autocast_of
from lrsearch.training.out_of_memory import is_out_of_memory
from lrsearch.training.task import Task

T = TypeVar("T")

SAMPLES = 4
"""Samples of the batch: more than one for batch normalisation, and few for large models."""


def dry_pass(build: Callable[[], Task], name: str) -> None:
    """Build a task, and run its model, loss and metrics on a few samples.

    `name` is the name of the model, for messages. Raises UserError for mistakes that lrsearch
    recognises, and OwnCodeError if the user's code raises. Running out of memory is no error,
    because it depends on the batch size of each trial.
    """
    try:
        _run(call_own(build, f"model: {name}"), name)
    except Exception as error:
        if not is_out_of_memory(error):
            raise


def _run(task: Task, name: str) -> None:
    model, recipe = task.model, task.recipe
    _check_parameters(model, name)
    optimizer = _in_words("optimizer", lambda: recipe.build_optimizer(model))
    _in_words("scheduler", lambda: recipe.build_schedule(optimizer, task.length))
    batches = training_batches(
        task.parts.train, SAMPLES, task.seed, 0, task.device, task.crop, task.flip
    )
    x, y = next(iter(batches))
    if task.settings.channels_last and x.dim() != 4:
        raise UserError(
            f"train.channels_last: it is for images, of the shape N×C×H×W, and these inputs are "
            f"{_described(x)}: leave it out"
        )
    what = f"model: {name}, on inputs {_described(x)},"
    ema = task.settings.ema
    if ema is not None:
        call_own(averaged_copy, f"train.ema: a copy of {name}", model, ema)
    model.train()
    with autocast_of(task.settings.amp, task.device.type):
        outputs = call_own(model, what, x)
        loss = _measured("train.loss", task.loss, outputs, y)
    if not isinstance(loss, torch.Tensor) or loss.numel() != 1:
        raise UserError(
            f"train.loss: it must return one number as a tensor, not {_described(loss)}"
        )
    if not loss.requires_grad:
        raise UserError(
            "train.loss: it does not depend on the model's parameters: nothing could be learned "
            "(outputs that are detached, or turned into numbers, have no gradient)"
        )
    call_own(loss.sum().backward, f"the backward pass of {name}")
    model.eval()
    with torch.no_grad(), autocast_of(task.settings.amp, task.device.type):
        outputs = call_own(model, what, x)
        for name, metric in task.metrics.items():
            key = f"train.metrics.{name}"
            value = _measured(key, metric, outputs, y)
            if not (isinstance(value, torch.Tensor) and value.numel() == 1) and not isinstance(
                value, int | float
            ):
                raise UserError(f"{key}: it must return one number, not {_described(value)}")


def _check_parameters(model: torch.nn.Module, name: str) -> None:
    parameters = list(model.parameters())
    if not parameters:
        raise UserError(f"model: {name} has no parameters to train")
    if not any(parameter.requires_grad for parameter in parameters):
        raise UserError(
            f"model: all parameters of {name} are frozen: leave requires_grad on "
            f"in the layers to be trained, at least in the last one"
        )


def _in_words(what: str, build: Callable[[], T]) -> T:
    """Build a part of the recipe. Raises UserError with its name and the message of torch."""
    try:
        return build()
    except UserError:
        raise
    except (ArithmeticError, TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"the {what} cannot be built: {error}") from None


def _measured(key: str, measure: Callable[..., Any], outputs: Any, targets: torch.Tensor) -> Any:
    """The value of a loss or metric, whose configuration key is `key`.

    Raises UserError for outputs that do not fit, and OwnCodeError if the user's measure raises.
    """
    if isinstance(measure, Fitted):
        if not isinstance(outputs, torch.Tensor):
            _refuse_outputs(key, outputs)
        try:
            return measure(outputs, targets)
        except (TypeError, ValueError, RuntimeError, IndexError) as error:
            raise UserError(
                f"{key}: it cannot take outputs {_described(outputs)} and targets "
                f"{_described(targets)}: {error}"
            ) from None
    shapes = f"{key}, on outputs {_described(outputs)} and targets {_described(targets)},"
    value = call_own(measure, shapes, outputs, targets)
    if isinstance(outputs, torch.Tensor) and _broadcasts(measure, outputs, targets, value):
        raise UserError(
            f"{key}: on outputs of the shape {tuple(outputs.shape)} and targets "
            f"{tuple(targets.shape)} it compares each sample with all others (broadcasting): "
            f"return outputs {tuple(targets.shape)} from the model, or have your function make "
            f"the shapes equal"
        )
    return value


def _refuse_outputs(key: str, outputs: Any) -> NoReturn:
    raise UserError(
        f"{key}: the model returns {_described(outputs)}, and a loss or metric by name needs one "
        f"tensor: return only that, or give a function of your own of (outputs, targets)"
    )


def _broadcasts(
    measure: Callable[..., Any], outputs: torch.Tensor, targets: torch.Tensor, value: Any
) -> bool:
    """Whether the user's measure, which returned `value`, compares each sample with all others.

    That happens by broadcasting, if outputs and targets differ in axes of length one. The mean of
    the measure over single samples involves no such comparison. A measure that broadcasts differs
    from this mean, but agrees with it once outputs or targets are reshaped to fit; a measure that
    is no mean over samples agrees with it in neither case.
    """
    if outputs.shape == targets.shape or outputs.numel() != targets.numel():
        return False
    with torch.no_grad():
        try:
            n = len(targets)
            single = zip(outputs.tensor_split(n), targets.tensor_split(n), strict=True)
            mean = sum(float(measure(*sample)) for sample in single) / n
            reshaped = (
                float(measure(outputs.reshape(targets.shape), targets)),
                float(measure(outputs, targets.reshape(outputs.shape))),
            )
            as_is = float(value)
        except Exception:  # noqa: BLE001 - the measure may refuse other shapes with any error
            return False
    return not _close(as_is, mean) and all(_close(value, mean) for value in reshaped)


def _close(first: float, second: float) -> bool:
    return abs(first - second) <= 1e-3 * max(abs(first), abs(second))


def _described(value: Any) -> str:
    """The shape and type of a tensor, or the type of another value, for a message."""
    if isinstance(value, torch.Tensor):
        return f"{tuple(value.shape)} {str(value.dtype).removeprefix('torch.')}"
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    return f"a {type(value).__name__}"
