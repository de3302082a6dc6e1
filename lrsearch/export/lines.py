"""The lines of an exported loop that depend on the recipe: optimizer, schedule, precision."""

from __future__ import annotations

import keyword
import math
from collections.abc import Mapping
from typing import Any

from lrsearch.recipe import Recipe
from lrsearch.schedules.plan import StepFunction, TorchCall


def optimizer_lines(recipe: Recipe) -> list[str]:
    cls, arguments = recipe.optimizer_call()
    if recipe.head_lr_factor == 1.0:
        return [f"optimizer = torch.optim.{cls}(model.parameters(), {arguments_text(arguments)})"]
    return [
        "named = list(model.named_parameters())",
        'head = [p for name, p in named if name.startswith("head.")]',
        'body = [p for name, p in named if not name.startswith("head.")]',
        f"head_lr_factor = {recipe.head_lr_factor!r}",
        f'groups = [{{"params": body}}, {{"params": head, "lr": {recipe.lr!r} * head_lr_factor}}]',
        f"optimizer = torch.optim.{cls}(groups, {arguments_text(arguments)})",
    ]


def torch_call(call: TorchCall) -> str:
    return f"torch.optim.lr_scheduler.{call.scheduler}(optimizer, {arguments_text(call.arguments)})"


def device_lines(is_streamed: bool) -> list[str]:
    """The data brought to the device: once, where they all lie in memory."""
    if is_streamed:
        return []
    return [
        "train_x, train_y = (part.to(DEVICE) for part in train)",
        "validation_x, validation_y = (part.to(DEVICE) for part in validation)",
    ]


def batches_lines(is_streamed: bool, crop: int, flip: bool) -> list[str]:
    """The start of the loop over the batches of an epoch."""
    seed, augment = [], []
    if crop or flip:
        seed = [
            'seed = derived_seed(SEED, "augment", epoch)',
            "generator = torch.Generator(DEVICE).manual_seed(seed)",
        ]
        augment = [f"    x = augmented(x, generator, {crop}, {flip})"]
    if is_streamed:
        return [*seed, "for x, y in training_batches(train, epoch, precision):", *augment]
    return [
        "indices = order(len(train_x), SEED, epoch).to(DEVICE)",
        *seed,
        "last = len(train_x) // BATCH_SIZE * BATCH_SIZE",
        "for first in range(0, last, BATCH_SIZE):",
        "    chosen = indices[first : first + BATCH_SIZE]",
        "    x, y = train_x[chosen], train_y[chosen]",
        *augment,
    ]


def evaluation_lines(is_streamed: bool, size: int) -> list[str]:
    """The evaluation on the validation part, in batches of `size`."""
    if is_streamed:
        batches, n = f"evaluation_batches(validation, {size}, precision)", "len(validation)"
    else:
        batches = f"zip(validation_x.split({size}), validation_y.split({size}))"
        n = "len(validation_x)"
    return [f"batches = {batches}", f"found |= evaluate(model, batches, {n}, autocast)"]


def precision_lines(is_streamed: bool) -> list[str]:
    """The model's precision; data that lie in memory are brought to it once."""
    names = [] if is_streamed else ["train_x", "train_y", "validation_x", "validation_y"]
    return [
        "precision = precision_of(model)",
        *(f"{name} = in_precision({name}, precision)" for name in names),
    ]


def backward_lines(micro_batch: int | None, amp: str, recipe: Recipe, batch_size: int) -> list[str]:
    """`batch_size` is that of the batches: the recipe's, or all samples where they are fewer."""
    scaled = "scaler.scale(loss).backward()" if amp == "fp16" else "loss.backward()"
    if micro_batch is None or micro_batch >= batch_size:
        lines = [
            "with autocast:",
            "    loss = measure_loss(model(x), y)",
            scaled,
            "losses.append(loss.detach().float())",
        ]
    else:
        pieces = math.ceil(batch_size / micro_batch)
        lines = [
            "batch_loss = 0.0",
            f"pieces = zip(x.tensor_split({pieces}), y.tensor_split({pieces}))  # that fit",
            "for piece_x, piece_y in pieces:",
            "    with autocast:",
            "        loss = measure_loss(model(piece_x), piece_y)",
            "    loss = loss * (len(piece_x) / len(x))",
            f"    {scaled}",
            "    batch_loss = batch_loss + loss.detach().float()",
            "losses.append(batch_loss)",
        ]
    if recipe.grad_clip is not None:
        lines += ["scaler.unscale_(optimizer)"] if amp == "fp16" else []
        lines.append(f"torch.nn.utils.clip_grad_norm_(model.parameters(), {recipe.grad_clip!r})")
    return lines


def step_lines(amp: str) -> list[str]:
    if amp != "fp16":
        return ["optimizer.step()"]
    return [
        "scaler.step(optimizer)",
        "scale = scaler.get_scale()",
        "scaler.update()",
        "skipped = scaler.get_scale() < scale",
    ]


def schedule_lines(call: TorchCall, warmup: int, recipe: Recipe, amp: str) -> list[str]:
    main = [] if call.monitor is not None else ["scheduler.step()"]
    if warmup:
        lines = [
            f"if scheduled < {warmup}:",
            "    warmup.step()",
            f"    if scheduled == {warmup - 1}:",
            "        for group, rate in zip(optimizer.param_groups, first_rates):",
            "            group['lr'] = rate",
        ]
        lines += ["else:", *(f"    {line}" for line in main)] if main else []
    else:
        lines = main
    lines = [*lines, *_follow(recipe), "scheduled += 1"]
    if amp != "fp16":
        return lines
    return ["if not skipped:", *(f"    {line}" for line in lines)]


def plateau_lines(call: TorchCall, warmup: int, recipe: Recipe) -> list[str]:
    if call.monitor is None:
        return []
    threshold = call.arguments["threshold"]
    body = [
        "if math.isfinite(scheduler.best):  # so that the threshold is a gain below zero, too",
        f"    scheduler.threshold = math.copysign({threshold!r}, scheduler.best)",
        f"scheduler.step(found[{call.monitor!r}])",
        *_follow(recipe),
    ]
    if not warmup:
        return body
    return [f"if scheduled >= {warmup}:", *(f"    {line}" for line in body)]


def _follow(recipe: Recipe) -> list[str]:
    if recipe.head_lr_factor == 1.0:
        return []
    return ["optimizer.param_groups[1]['lr'] = optimizer.param_groups[0]['lr'] * head_lr_factor"]


def arguments_text(arguments: Mapping[str, Any]) -> str:
    """Arguments as a call has them; those whose names Python does not allow there as `**{...}`."""
    named = {key: value for key, value in arguments.items() if _is_name(key)}
    others = {key: value for key, value in arguments.items() if key not in named}
    words = [f"{name}={literal(value)}" for name, value in named.items()]
    return ", ".join([*words, *([f"**{literal(others)}"] if others else [])])


def literal(value: Any) -> str:
    """Python source of a value, whatever its text: nothing in it is ever run."""
    match value:
        case StepFunction():
            return f"lambda step: {value.source}"
        case bool() | int() | str() | None:
            return repr(value)
        case float():
            return repr(value) if math.isfinite(value) else f'float("{value}")'
        case list():
            return f"[{', '.join(map(literal, value))}]"
        case tuple():
            return f"({', '.join(map(literal, value))}{',' if len(value) == 1 else ''})"
        case Mapping():
            return f"{{{', '.join(f'{literal(k)}: {literal(v)}' for k, v in value.items())}}}"
    raise TypeError(f"{type(value).__name__} is not of a configuration")


def docstring(*lines: str) -> str:
    """Lines as a docstring, whatever their text."""
    text = "\n".join(lines).replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
    shown = "".join(one if one.isprintable() or one == "\n" else repr(one)[1:-1] for one in text)
    end = "\n" if len(lines) > 1 or shown.endswith('"') else ""
    return f'"""{shown}{end}"""'


def _is_name(text: Any) -> bool:
    return isinstance(text, str) and text.isidentifier() and not keyword.iskeyword(text)
