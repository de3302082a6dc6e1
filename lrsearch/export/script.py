"""Puts the script together: data, model, optimizer, scheduler, loop.

The script repeats lrsearch's training to the last bit on the same kind of CPU: it contains the
source of the same functions. The user's own code is imported, not copied.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lrsearch.analysis.words import plural
from lrsearch.config.settings import Settings
from lrsearch.data.own import items_seed
from lrsearch.data.prepare import fallback_spec
from lrsearch.data.raw import unpacked_root
from lrsearch.data.sources import SOURCES
from lrsearch.data.spec import DataInfo
from lrsearch.export import lines
from lrsearch.export.lines import arguments_text, literal, torch_call
from lrsearch.export.sources import source_of
from lrsearch.export.template import EVALUATE, MAIN, OWN, STREAMED, fill, imports
from lrsearch.models import MODELS, model_arguments, model_class
from lrsearch.recipe import Recipe
from lrsearch.schedules.plan import TorchCall
from lrsearch.targets import load_target
from lrsearch.training.losses import (
    LOSSES,
    METRICS,
    dotted,
    fit_of,
    loss_target,
    metric_targets,
)
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
        self.settings, self.info, self.recipe, self.record = settings, info, recipe, record
        self.spec = settings.data.with_arguments(recipe.data)
        self.length = settings.train.length(recipe.batch_size, info.n_train)
        self.batch_size = min(recipe.batch_size, info.n_train)
        self.imports: list[str] = []

    def text(self) -> str:
        data, model, measures = self._data(), self._model(), self._measures()
        functions = ["lrsearch.seeds.derived_seed", "lrsearch.training.batches.order"]
        if self.spec.crop or self.spec.flip:
            functions.append("lrsearch.training.batches.augmented")
        if self._any_precision:
            names = ("precision_of", "in_precision")
            functions += [f"lrsearch.training.precision.{name}" for name in names]
        parts = [
            self._constants(),
            *map(source_of, functions),
            data,
            STREAMED if self._is_streamed else "",
            model,
            measures,
            EVALUATE,
            self._main(),
        ]
        body = "\n\n\n".join(part.strip("\n") for part in parts if part)
        body = re.sub(r"\n{4,}", "\n\n\n", body)
        return f"{self._head()}\n\n{imports(body, self.imports)}\n\n{body}\n"

    @property
    def _any_precision(self) -> bool:
        """Whether data or model are the user's; the catalogue's are float32."""
        return self.spec.target is not None or self.settings.model.own

    @property
    def _is_streamed(self) -> bool:
        """Whether items are drawn anew in each epoch; the user's Datasets alone can be."""
        return self.spec.target is not None and self.info.file is None

    def _head(self) -> str:
        warning = self.record.get("WARNING")
        return lines.docstring(
            self.recipe.describe(),
            "",
            f"The best recipe of the study {self.record['study']} (trial {self.record['trial']}): "
            f"{self.record['metric']} {self.record['value']!r}",
            f"at the {self.record['at']} evaluation, found by lrsearch. Plain PyTorch.",
            *_confirmed(self.record),
            *([f"WARNING: {warning}"] if warning else []),
        )

    def _constants(self) -> str:
        length = self.length
        return (
            f"SEED = {self.record['seed']}\n"
            f"BATCH_SIZE = {self.batch_size}\n"
            f"STEPS = {length.steps}  # of the optimizer, {length.steps_per_epoch} an epoch\n"
            f"EVALUATE_EVERY = {length.steps_per_evaluation}  # steps\n"
            f"THREADS = {self.settings.train.threads}  # other numbers change the last bits\n"
            f"DEVICE = torch.device({_device(self.settings.train.device)})"
        )

    # Data

    def _data(self) -> str:
        if self.spec.target is not None:
            function = self._imported(self.spec.target)
            readers = ("lrsearch.data.values.as_tensor", "lrsearch.data.own.as_targets")
            return "\n\n\n".join([*map(source_of, readers), self._load_own(function)])
        spec = self.spec
        if self.info.name != self.info.wanted:
            spec = fallback_spec(spec)
        source, arguments = SOURCES[spec.name], dict(spec.arguments)
        if source.files is not None:
            root = unpacked_root(source.files, spec.root_folder, spec.cache_folder)
            arguments["root"] = str(root)
        names = [spec.name, "split", *(["normalise"] if source.images else [])]
        sources = "\n\n\n".join(source_of(f"lrsearch.data.sources.{name}") for name in names)
        normal = "    train_x, validation_x = normalise(train_x, validation_x)\n"
        return (
            f"{sources}\n\n\n"
            f"def load_data():\n"
            f'    """(x, y) for training and for validation."""\n'
            f"    x, y, _, _ = {spec.name}({arguments_text(arguments)})\n"
            f"    parts = split(x, y, {self.info.n_validation}, {spec.split_seed})\n"
            f"    train_x, train_y, validation_x, validation_y = parts\n"
            f"{normal if source.images else ''}"
            f"    return (train_x, train_y), (validation_x, validation_y)"
        )

    def _load_own(self, function: str) -> str:
        """`load_data` of the user's function."""
        if self._is_streamed:
            return (
                f"def load_data():\n"
                f'    """The Datasets for training and for validation."""\n'
                f"    parts = {function}({arguments_text(self.spec.arguments)})\n"
                f"    return [\n"
                f"        torch.utils.data.TensorDataset(*map(as_tensor, part))\n"
                f"        if isinstance(part, (tuple, list))\n"
                f"        else part\n"
                f"        for part in parts[:2]\n"
                f"    ]"
            )
        seeds = [items_seed(name) for name in ("train", "validation")]
        return (
            f"def load_data():\n"
            f'    """(x, y) for training and for validation."""\n'
            f"    found = []\n"
            f"    parts = {function}({arguments_text(self.spec.arguments)})\n"
            f"    for part, seed in zip(parts, {seeds}):\n"
            f"        if not isinstance(part, (tuple, list)):  # a Dataset\n"
            f"            random.seed(seed)  # of what it draws\n"
            f"            numpy.random.seed(seed)\n"
            f"            torch.manual_seed(seed)\n"
            f"            items = [part[k] for k in range(len(part))]\n"
            f"            part = [torch.stack([as_tensor(item[k]) for item in items])"
            f" for k in (0, 1)]\n"
            f"        found.append((as_tensor(part[0]), as_targets(as_tensor(part[1]))))\n"
            f"    return found"
        )

    # Model, loss and metrics

    def _model(self) -> str:
        model, source = self.settings.model, ""
        given = {**model.arguments, **self.recipe.model}
        if model.own:
            name = self._imported(model.name)
            arguments = model_arguments(model_class(model.name, own=True), given, self.info)
        else:
            path = MODELS[model.name].path
            name = path.rpartition(".")[2]
            source = source_of(path, with_helpers=True) + "\n\n\n"
            shape = {"input_shape": self.info.input_shape, "n_outputs": self.info.n_outputs}
            arguments = {**shape, **given}
        return f"{source}def build_model():\n    return {name}({arguments_text(arguments)})"

    def _measures(self) -> str:
        classes = self.info.n_classes
        loss = loss_target(self.settings.train.loss, classes)
        metrics = metric_targets(self.settings.train.metrics, classes)
        named = {"val_loss": (loss, LOSSES)}
        named |= {f"val_{name}": (target, METRICS) for name, target in metrics.items()}
        sources: list[str] = []
        rows = []
        for name, (target, catalogue) in named.items():
            expression, source = self._measure(target, catalogue)
            sources += [source] if source and source not in sources else []
            rows.append(f"    {literal(name)}: {expression},")
        table = "MEASURES = {\n" + "\n".join(rows) + "\n}"
        return "\n\n\n".join([*_fits(table), *sources, table])

    def _measure(self, target: Target, catalogue: Mapping[str, str]) -> tuple[str, str]:
        """The expression of a measure, and the source of what it uses of lrsearch's."""
        path = dotted(target, dict(catalogue))
        arguments = arguments_text(target.arguments)
        if path.startswith("lrsearch."):
            expression, source = path.rpartition(".")[2], source_of(path)
        else:
            expression, source = path if path.startswith("torch.") else self._imported(path), ""
        if target.own:
            if inspect.isclass(load_target(path, "train")):
                return f"{expression}({arguments})", source
        elif self.settings.model.own or self.spec.target is not None:
            fit = fit_of(target.name).__name__
            both = f"*{fit}(outputs, targets){', ' if arguments else ''}{arguments}"
            return f"lambda outputs, targets: {expression}({both})", source
        # What the catalogue's models put out has the shape of the catalogue's targets.
        if arguments:
            expression = f"functools.partial({expression}, {arguments})"
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
            ramp = torch_call(
                TorchCall("LinearLR", {"start_factor": 1 / (warmup + 1), "total_iters": warmup})
            )
            warm_lines = [
                f"# A linear ramp over {warmup} steps comes first.",
                first,
                f"warmup = {ramp}",
            ]
        else:
            warm_lines = []
        scaler = "scaler = torch.amp.GradScaler(DEVICE.type)"
        seeds = ["random.seed(SEED)", "numpy.random.seed(SEED)"]
        size = train.micro_batch or 1024
        blocks = {
            # The user's own code may draw from these.
            "SEEDS": seeds if self.imports else [],
            "TO_DEVICE": lines.device_lines(self._is_streamed),
            "PRECISION": lines.precision_lines(self._is_streamed) if self._any_precision else [],
            "SCALER": [scaler] if train.amp == "fp16" else [],
            "OPTIMIZER": lines.optimizer_lines(recipe),
            "SCHEDULER": [f"scheduler = {torch_call(call)}", *warm_lines],
            "BATCHES": lines.batches_lines(self._is_streamed, self.spec.crop, self.spec.flip),
            "BACKWARD": lines.backward_lines(train.micro_batch, train.amp, recipe, self.batch_size),
            "STEP": lines.step_lines(train.amp),
            "SCHEDULE": lines.schedule_lines(call, warmup, recipe, train.amp),
            "EVALUATION": lines.evaluation_lines(self._is_streamed, size),
            "PLATEAU": lines.plateau_lines(call, warmup, recipe),
        }
        autocast = {
            "none": "contextlib.nullcontext()",
            "bf16": "torch.autocast(DEVICE.type, torch.bfloat16)",
            "fp16": "torch.autocast(DEVICE.type, torch.float16)",
        }[train.amp]
        goal = "min" if self.settings.metric.mode == "min" else "max"
        known = "filter(math.isfinite, values)" if self.settings.metric.nan == "worst" else "values"
        words = {
            "AUTOCAST": autocast,
            "METRIC": literal(self.settings.metric.name),
            "PICK": f"{goal}({known})" if self.settings.metric.at == "best" else "values[-1]",
        }
        text = re.sub("|".join(words), lambda found: words[found[0]], MAIN)
        for name, block in blocks.items():
            text = fill(text, name, block)
        return text


def _fits(table: str) -> list[str]:
    """The sources of the functions that put shapes right, those that the measures use."""
    uses = {"numbers": (), "class_indices": (), "class_targets": ("class_indices",)}
    used = [name for name in uses if f"(*{name}(" in table]
    wanted = {*used, *(other for name in used for other in uses[name])}
    ordered = ["alike", *(name for name in uses if name in wanted)] if used else []
    return [source_of(f"lrsearch.training.shapes.{name}") for name in ordered]


def _device(name: str) -> str:
    if name != "auto":
        return repr(name)
    other = '"mps" if torch.backends.mps.is_available() else "cpu"'
    return f'"cuda" if torch.cuda.is_available() else {other}'


def _own_objective(settings: Settings, record: Mapping[str, Any]) -> str:
    assert settings.objective is not None
    module, _, name = settings.objective.name.rpartition(".")
    arguments = arguments_text(settings.objective.arguments)
    found = f"The best recipe of the study {record['study']}, found by lrsearch: "
    return OWN.format(
        docstring=lines.docstring(f"{found}{record['metric']} {record['value']!r}."),
        module=module,
        name=name,
        folder=literal(str(Path.cwd())),
        recipe=literal(record["recipe"]),
        seed=record["seed"],
        epochs=literal(settings.train.epochs),
        threads=settings.train.threads,
        arguments=f", {arguments}" if arguments else "",
    )


def _confirmed(record: Mapping[str, Any]) -> list[str]:
    """A line with the confirmed value, where there is one."""
    found = record.get("confirmed")
    if found is None:
        return []
    runs = plural(len(found["values"]), "run")
    return [f"Confirmed on fresh seeds: {record['metric']} {found['mean']!r}, mean of {runs}."]
