"""The best recipe as a script in plain PyTorch: data, model, optimizer, scheduler, loop.

The script repeats lrsearch's training to the last bit on the same kind of CPU: it contains the
source of the same functions. The user's own code is imported, not copied.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from typing import Any

from lrsearch.config.settings import Settings
from lrsearch.data.prepare import fallback_spec
from lrsearch.data.raw import unpacked_root
from lrsearch.data.sources import SOURCES, normalise, split
from lrsearch.data.spec import DataInfo
from lrsearch.recipe import Recipe
from lrsearch.schedules.families import Call, StepFunction
from lrsearch.seeds import derived_seed
from lrsearch.training.losses import LOSSES, METRICS, dotted, loss_target, metric_targets
from lrsearch.training.settings import Target


def best_script(settings: Settings, info: DataInfo | None, record: Mapping[str, Any]) -> str:
    """The script for a record of `best.yaml`.

    Where the user's own function trains, the script calls it with the recipe.
    """
    recipe = Recipe.from_dict(record["recipe"])
    if info is None:
        return _own_objective(settings, record)
    return _Script(settings, info, recipe, record).text()


class _Script:
    def __init__(
        self, settings: Settings, info: DataInfo, recipe: Recipe, record: Mapping[str, Any]
    ) -> None:
        from lrsearch.objective import length_of, with_arguments

        self.settings, self.info, self.recipe, self.record = settings, info, recipe, record
        self.spec = with_arguments(settings.data, recipe.data)
        self.length = length_of(recipe.batch_size, settings.train, info.n_train)
        self.imports: list[str] = []

    def text(self) -> str:
        from lrsearch.training.batches import augmented, order

        data, model, measures = self._data(), self._model(), self._measures()
        functions = [derived_seed, order]
        functions += [augmented] if self.spec.crop or self.spec.flip else []
        parts = [
            self._head(),
            "\n".join(_IMPORTS + sorted(set(self.imports))),
            self._constants(),
            *(inspect.getsource(function) for function in functions),
            data,
            model,
            measures,
            _EVALUATE,
            self._main(),
        ]
        return "\n\n\n".join(part.strip("\n") for part in parts if part) + "\n"

    def _head(self) -> str:
        warning = self.record.get("WARNING")
        lines = [
            f'"""{self.recipe.describe()}',
            "",
            f"The best recipe of the study {self.record['study']} (trial {self.record['trial']}): "
            f"{self.record['metric']} {self.record['value']!r}",
            f"at the {self.record['at']} evaluation, found by lrsearch. Plain PyTorch.",
            *([f"WARNING: {warning}"] if warning else []),
            '"""',
        ]
        return "\n".join(lines)

    def _constants(self) -> str:
        length = self.length
        return (
            f"SEED = {self.record['seed']}\n"
            f"BATCH_SIZE = {min(self.recipe.batch_size, self.info.n_train)}\n"
            f"STEPS = {length.steps}  # of the optimizer, {length.steps_per_epoch} an epoch\n"
            f"EVALUATE_EVERY = {length.steps_per_evaluation}  # steps\n"
            f"THREADS = {self.settings.train.threads}  # other numbers change the last bits\n"
            f"DEVICE = torch.device({_device(self.settings.train.device)})"
        )

    # Data

    def _data(self) -> str:
        if self.spec.target is not None:
            function = self._imported(self.spec.target)
            return (
                f"def load_data():\n"
                f'    """(x, y) for training and for validation."""\n'
                f"    parts = {function}({_arguments(self.spec.arguments)})\n"
                f"    return [\n"
                f"        part if isinstance(part, (tuple, list)) else tuple(\n"
                f"            torch.stack([torch.as_tensor(item[k]) for item in part])"
                f" for k in (0, 1)\n"
                f"        )\n"
                f"        for part in parts[:2]\n"
                f"    ]"
            )
        spec = self.spec
        if self.info.name != self.info.wanted:
            spec = fallback_spec(spec)
        source, arguments = SOURCES[spec.name], dict(spec.arguments)
        if source.files is not None:
            root = unpacked_root(source.files, spec.root_folder, spec.cache_folder)
            arguments["root"] = str(root)
        functions = [source.function, split, *([normalise] if source.images else [])]
        sources = "\n\n\n".join(inspect.getsource(function) for function in functions)
        normal = "    train_x, validation_x = normalise(train_x, validation_x)\n"
        return (
            f"{sources}\n\n\n"
            f"def load_data():\n"
            f'    """(x, y) for training and for validation."""\n'
            f"    x, y, _, _ = {spec.name}({_arguments(arguments)})\n"
            f"    parts = split(x, y, {self.info.n_validation}, {spec.split_seed})\n"
            f"    train_x, train_y, validation_x, validation_y = parts\n"
            f"{normal if source.images else ''}"
            f"    return (train_x, train_y), (validation_x, validation_y)"
        )

    # Model, loss and metrics

    def _model(self) -> str:
        from lrsearch.models import model_arguments, model_class

        model = self.settings.model
        cls = model_class(model.name, model.own)
        arguments = model_arguments(cls, {**model.arguments, **self.recipe.model}, self.info)
        source = ""
        if model.own:
            name = self._imported(model.name)
        else:
            name = cls.__name__
            source = _module_body(cls) + "\n\n\n"
        return f"{source}def build_model():\n    return {name}({_arguments(arguments)})"

    def _measures(self) -> str:
        classes = self.info.n_classes
        loss = loss_target(self.settings.train.loss, classes)
        metrics = metric_targets(self.settings.train.metrics, classes)
        named = {"val_loss": (loss, LOSSES)}
        named |= {f"val_{name}": (target, METRICS) for name, target in metrics.items()}
        sources: list[str] = []
        lines = []
        for name, (target, catalogue) in named.items():
            expression, source = self._measure(target, catalogue)
            sources += [source] if source and source not in sources else []
            lines.append(f"    {name!r}: {expression},")
        table = "MEASURES = {\n" + "\n".join(lines) + "\n}"
        return "\n\n\n".join([*sources, table])

    def _measure(self, target: Target, catalogue: Mapping[str, str]) -> tuple[str, str]:
        path = dotted(target, dict(catalogue))
        source = ""
        if path.startswith("lrsearch."):
            from lrsearch.targets import load_target

            expression, source = path.rpartition(".")[2], inspect.getsource(load_target(path, "metric"))
        elif path.startswith("torch."):
            expression = path
        else:
            expression = self._imported(path)
        if target.arguments:
            self.imports.append("import functools")
            expression = f"functools.partial({expression}, {_arguments(target.arguments)})"
        return expression, source

    def _imported(self, path: str) -> str:
        module, _, name = path.rpartition(".")
        self.imports.append(f"from {module} import {name}")
        return name

    # Optimizer, scheduler and loop

    def _main(self) -> str:
        recipe, train = self.recipe, self.settings.train
        call, warmup = recipe.call(self.length)
        if warmup:
            first = "first_rates = [group['lr'] for group in optimizer.param_groups]"
            ramp = _torch_call(
                Call("LinearLR", {"start_factor": 1 / (warmup + 1), "total_iters": warmup})
            )
            warm_lines = [f"# A linear ramp over {warmup} steps comes first.", first, f"warmup = {ramp}"]
        else:
            warm_lines = []
        blocks = {
            "OPTIMIZER": _optimizer_lines(recipe),
            "SCHEDULER": [f"scheduler = {_torch_call(call)}", *warm_lines],
            "BATCH": _batch_lines(self.spec.crop, self.spec.flip),
            "BACKWARD": _backward_lines(train.micro_batch, train.amp, recipe),
            "STEP": _step_lines(train.amp),
            "SCHEDULE": _schedule_lines(call, warmup, recipe),
            "PLATEAU": _plateau_lines(call, warmup, recipe),
        }
        autocast = {
            "none": "contextlib.nullcontext()",
            "bf16": "torch.autocast(DEVICE.type, torch.bfloat16)",
            "fp16": "torch.autocast(DEVICE.type, torch.float16)",
        }[train.amp]
        text = _MAIN.replace("AUTOCAST", autocast)
        text = text.replace("EVALUATION_BATCH", str(train.micro_batch or 1024))
        for name, lines in blocks.items():
            text = _fill(text, name, lines)
        goal = "min" if self.settings.metric.mode == "min" else "max"
        pick = f"{goal}(values)" if self.settings.metric.at == "best" else "values[-1]"
        metric = self.settings.metric.name
        return text.replace("METRIC", repr(metric)).replace("PICK", pick)


def _optimizer_lines(recipe: Recipe) -> list[str]:
    cls, arguments = recipe.optimizer_call()
    if recipe.head_lr_factor == 1.0:
        return [f"optimizer = torch.optim.{cls}(model.parameters(), {_arguments(arguments)})"]
    return [
        "named = list(model.named_parameters())",
        'head = [p for name, p in named if name.startswith("head.")]',
        'body = [p for name, p in named if not name.startswith("head.")]',
        f"head_lr_factor = {recipe.head_lr_factor!r}",
        f'groups = [{{"params": body}}, {{"params": head, "lr": {recipe.lr!r} * head_lr_factor}}]',
        f"optimizer = torch.optim.{cls}(groups, {_arguments(arguments)})",
    ]


def _torch_call(call: Call) -> str:
    return f"torch.optim.lr_scheduler.{call.scheduler}(optimizer, {_arguments(call.arguments)})"


def _batch_lines(crop: int, flip: bool) -> list[str]:
    lines = ["x, y = train_x[chosen], train_y[chosen]"]
    if crop or flip:
        lines.append(f"x = augmented(x, generator, {crop}, {flip})")
    return lines


def _backward_lines(micro_batch: int | None, amp: str, recipe: Recipe) -> list[str]:
    scaled = "scaler.scale(loss).backward()" if amp == "fp16" else "loss.backward()"
    if micro_batch is None or micro_batch >= recipe.batch_size:
        lines = ["with autocast:", "    loss = measure_loss(model(x), y)", scaled]
    else:
        lines = [
            f"for start in range(0, len(x), {micro_batch}):  # one batch in pieces that fit",
            f"    piece = slice(start, start + {micro_batch})",
            "    with autocast:",
            "        loss = measure_loss(model(x[piece]), y[piece])",
            "    loss = loss * (len(x[piece]) / len(x))",
            f"    {scaled}",
        ]
    if recipe.grad_clip is not None:
        lines += ["scaler.unscale_(optimizer)"] if amp == "fp16" else []
        lines.append(f"torch.nn.utils.clip_grad_norm_(model.parameters(), {recipe.grad_clip!r})")
    return lines


def _step_lines(amp: str) -> list[str]:
    if amp != "fp16":
        return ["optimizer.step()"]
    return [
        "scaler.step(optimizer)",
        "scale = scaler.get_scale()",
        "scaler.update()",
        "skipped = scaler.get_scale() < scale",
    ]


def _schedule_lines(call: Call, warmup: int, recipe: Recipe) -> list[str]:
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
    return [*lines, *_follow(recipe), "scheduled += 1"]


def _plateau_lines(call: Call, warmup: int, recipe: Recipe) -> list[str]:
    if call.monitor is None:
        return []
    body = [f"scheduler.step(found[{call.monitor!r}])", *_follow(recipe)]
    if not warmup:
        return body
    return [f"if scheduled >= {warmup}:", *(f"    {line}" for line in body)]


def _follow(recipe: Recipe) -> list[str]:
    if recipe.head_lr_factor == 1.0:
        return []
    return [
        "optimizer.param_groups[1]['lr'] = optimizer.param_groups[0]['lr'] * head_lr_factor"
    ]


def _fill(text: str, name: str, lines: list[str]) -> str:
    """Puts lines in the place of `{name}`, indented as it is; the place goes where there are none."""
    return re.sub(
        rf"^( *)\{{{name}\}}\n",
        lambda match: "".join(f"{match[1]}{line}\n" for line in lines),
        text,
        flags=re.MULTILINE,
    )


def _arguments(arguments: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={_literal(value)}" for name, value in arguments.items())


def _literal(value: Any) -> str:
    if isinstance(value, StepFunction):
        return f"lambda step: {value.source}"
    return repr(value)


def _module_body(cls: type) -> str:
    """The source of a class and of the functions of its module that it uses."""
    module = inspect.getmodule(cls)
    functions = [
        inspect.getsource(function)
        for _, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == cls.__module__
    ]
    source = "\n\n\n".join([*functions, inspect.getsource(cls)])
    return source.replace("UserError(", "ValueError(")


def _device(name: str) -> str:
    if name != "auto":
        return repr(name)
    return '"cuda" if torch.cuda.is_available() else "cpu"'


def _own_objective(settings: Settings, record: Mapping[str, Any]) -> str:
    assert settings.objective is not None
    module, _, name = settings.objective.name.rpartition(".")
    arguments = _arguments(settings.objective.arguments)
    return _OWN.format(
        study=record["study"], value=record["value"], metric=record["metric"], module=module,
        name=name, recipe=repr(record["recipe"]), arguments=f", {arguments}" if arguments else "",
    )  # fmt: skip


_IMPORTS = [
    "from __future__ import annotations",
    "",
    "import contextlib",
    "import hashlib",
    "import math",
    "from collections.abc import Sequence",
    "from math import cos, exp, floor, log, pi, sin, sqrt  # for schedules by formula",
    "from pathlib import Path",
    "",
    "import torch",
    "from torch import nn",
]

_EVALUATE = '''
def evaluate(model, x, y, batch_size, autocast):
    """The mean of each measure over the validation part."""
    totals = dict.fromkeys(MEASURES, torch.zeros((), device=DEVICE))
    model.eval()
    with torch.no_grad():
        for start in range(0, len(x), batch_size):
            part_x, part_y = x[start : start + batch_size], y[start : start + batch_size]
            with autocast:
                outputs = model(part_x)
                means = {name: measure(outputs, part_y) for name, measure in MEASURES.items()}
            totals = {name: total + means[name] * len(part_x) for name, total in totals.items()}
    model.train()
    return {name: float(total) / len(x) for name, total in totals.items()}
'''

_MAIN = '''
def main():
    torch.set_num_threads(THREADS)
    train, validation = load_data()
    train_x, train_y = (part.to(DEVICE) for part in train)
    validation_x, validation_y = (part.to(DEVICE) for part in validation)
    torch.manual_seed(SEED)
    model = build_model().to(DEVICE)
    measure_loss = MEASURES["val_loss"]
    autocast = AUTOCAST
    {OPTIMIZER}
    {SCHEDULER}
    step, scheduled, epoch, values, losses = 0, 0, 0, [], []
    model.train()
    while step < STEPS:
        indices = order(len(train_x), SEED, epoch).to(DEVICE)
        generator = torch.Generator(DEVICE).manual_seed(derived_seed(SEED, "augment", epoch))
        last = len(train_x) // BATCH_SIZE * BATCH_SIZE
        for first in range(0, last, BATCH_SIZE):
            chosen = indices[first : first + BATCH_SIZE]
            {BATCH}
            optimizer.zero_grad()
            {BACKWARD}
            {STEP}
            {SCHEDULE}
            losses.append(loss.detach())
            step += 1
            if step % EVALUATE_EVERY == 0 or step == STEPS:
                found = {"train_loss": float(torch.stack(losses).mean())}
                found |= evaluate(model, validation_x, validation_y, EVALUATION_BATCH, autocast)
                losses = []
                values.append(found[METRIC])
                rate = optimizer.param_groups[0]["lr"]
                words = "  ".join(f"{name} {value:.6g}" for name, value in found.items())
                print(f"step {step}  lr {rate:.4g}  {words}", flush=True)
                {PLATEAU}
            if step == STEPS:
                break
        epoch += 1
    print(METRIC, PICK)


if __name__ == "__main__":
    main()
'''

_OWN = '''"""The best recipe of the study {study}, found by lrsearch: {metric} {value!r}."""

from lrsearch.recipe import Recipe
from {module} import {name}

RECIPE = {recipe}


def report(epoch, val_loss, **metrics):
    print(epoch, val_loss, metrics, flush=True)


if __name__ == "__main__":
    {name}(Recipe.from_dict(RECIPE), report{arguments})
'''
