"""One small batch forward and backward, to find errors of a training before anything is stored."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NoReturn, TypeVar

import torch

from lrsearch.errors import OwnCodeError, UserError
from lrsearch.measures.build import Fitted
from lrsearch.own_code import call_own
from lrsearch.training.averaging import averaged_copy
from lrsearch.training.batches import EvaluationBatches, training_batches
from lrsearch.training.layout import in_layout
from lrsearch.training.loop import autocast_of
from lrsearch.training.out_of_memory import is_out_of_memory
from lrsearch.training.precision import precision_of
from lrsearch.training.task import Task

T = TypeVar("T")

SAMPLES = 4
"""Samples of the batch: more than one for batch normalisation, and few for large models."""


def dry_pass(build: Callable[[], Task], name: str, wanted: Mapping[str, str] | None = None) -> None:
    """Build a task, and run its model, loss and metrics on a few samples.

    `name` is the name of the model, for messages; `wanted` are the values that an evaluation must
    give, and the key of the configuration that asks for each. Raises UserError for mistakes that
    lrsearch recognises, and OwnCodeError if the user's code raises. Running out of memory is no
    error, because it depends on the batch size of each trial.
    """
    try:
        _run(call_own(build, f"model: {name}"), name, wanted or {})
    except Exception as error:
        if not is_out_of_memory(error):
            raise


def _run(task: Task, name: str, wanted: Mapping[str, str]) -> None:
    model, recipe = task.model, task.recipe
    _check_parameters(model, name)
    optimizer = _in_words("optimizer", lambda: recipe.build_optimizer(model))
    _in_words("scheduler", lambda: recipe.build_schedule(optimizer, task.length))
    precision = precision_of(model)
    batches = training_batches(
        task.parts.train,
        SAMPLES,
        task.seed,
        0,
        task.device,
        task.crop,
        task.flip,
        precision=precision,
        count=1,
    )
    batch = next(iter(batches))
    is_last = task.settings.channels_last
    if is_last and task.is_pairs and batch[0].dim() != 4:
        raise UserError(
            f"train.channels_last: it is for images, of the shape N×C×H×W, and these inputs are "
            f"{described(batch[0])}: leave it out"
        )
    batch = in_layout(batch, is_last)
    ema = task.settings.ema
    if ema is not None:
        call_own(averaged_copy, f"train.ema: a copy of {name}", model, ema)
    model.train()
    with autocast_of(task.settings.amp, task.device.type):
        if task.loss_step is not None:
            key = "train.loss_step"
            what = f"{key}, with {name} and a batch of {described(batch)},"
            loss = call_own(task.loss_step, what, model, batch)
        else:
            key = "train.loss"
            x, y = _pair_of(batch)
            outputs = call_own(model, f"model: {name}, on inputs {described(x)},", x)
            loss = _measured(key, task.loss, outputs, y)
    _check_loss(key, loss)
    call_own(loss.sum().backward, f"the backward pass of {name}")
    model.eval()
    values = _evaluated(task, name, precision)
    for value, asking in wanted.items():
        if value not in values:
            raise UserError(
                f"{asking}: an evaluation gives {', '.join(values)}, and not {value!r}: name one "
                f"of these, or have train.evaluate return it"
            )


def _pair_of(batch: Any) -> tuple[Any, Any]:
    """Inputs and targets of a batch. Raises UserError for a batch of another form."""
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        raise UserError(
            f"data: a batch is {described(batch)}, and lrsearch computes train.loss of batches "
            f"(x, y) alone: name a function of (model, batch) that returns the loss with "
            f"train.loss_step={{_target_: mypkg.step}}, or have data.loader.collate_fn return "
            f"(x, y)"
        )
    return batch[0], batch[1]


def _check_loss(key: str, loss: Any) -> None:
    if not isinstance(loss, torch.Tensor) or loss.numel() != 1:
        is_output = hasattr(loss, "loss") and not isinstance(loss, torch.Tensor)
        raise UserError(
            f"{key}: it must return one number as a tensor, not {described(loss)}"
            f"{': return its .loss' if is_output else ''}"
        )
    if not loss.requires_grad:
        raise UserError(
            f"{key}: it does not depend on the model's parameters: nothing could be learned "
            f"(outputs that are detached, or turned into numbers, have no gradient)"
        )


def _evaluated(task: Task, name: str, precision: torch.dtype) -> list[str]:
    """Evaluate a few samples of the validation part; return the names of the values.

    Raises UserError or OwnCodeError for what the user's code does wrong.
    """
    model = task.model
    autocast = autocast_of(task.settings.amp, task.device.type)
    few = EvaluationBatches(task.parts.validation, SAMPLES, task.device, precision)
    batch = next(iter(few))
    if task.evaluate is not None:
        what = f"train.evaluate, with {name} and batches of {described(batch)},"
        own = dataclasses.replace(task.measures, evaluate=partial(call_own, task.evaluate, what))
        try:
            values = own.values(model, [batch], autocast)
        except OwnCodeError:
            # A few samples may be too few: the AUC, for instance, needs samples of both classes.
            batch_size = task.settings.evaluation_batch
            whole = EvaluationBatches(task.parts.validation, batch_size, task.device, precision)
            values = own.values(model, whole, autocast)
        return ["train_loss", *values]
    if not task.is_pairs:
        return ["train_loss", *task.measures.values(model, [batch], autocast)]
    x, y = _pair_of(batch)
    with torch.no_grad(), autocast:
        outputs = call_own(model, f"model: {name}, on inputs {described(x)},", x)
        if task.loss_step is not None:
            _measured("train.loss", task.loss, outputs, y)
        for metric_name, metric in task.metrics.items():
            key = f"train.metrics.{metric_name}"
            value = _measured(key, metric, outputs, y)
            if not (isinstance(value, torch.Tensor) and value.numel() == 1) and not isinstance(
                value, int | float
            ):
                raise UserError(f"{key}: it must return one number, not {described(value)}")
    return ["train_loss", "val_loss", *(f"val_{name}" for name in task.metrics)]


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
                f"{key}: it cannot take outputs {described(outputs)} and targets "
                f"{described(targets)}: {error}"
            ) from None
    shapes = f"{key}, on outputs {described(outputs)} and targets {described(targets)},"
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
        f"{key}: the model returns {described(outputs)}, and a loss or metric by name needs one "
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


def described(value: Any) -> str:
    """The shape and type of a tensor, or the type of another value, for a message."""
    if isinstance(value, torch.Tensor):
        return f"{tuple(value.shape)} {str(value.dtype).removeprefix('torch.')}"
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, Mapping):
        return f"a {type(value).__name__} of {', '.join(map(str, value))}"
    return f"a {type(value).__name__}"
