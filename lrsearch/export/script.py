"""The script of the best recipe, `best.py`.

If lrsearch's own loop has trained the recipe, the script contains the source of the same functions
and repeats the training to the last bit on the same kind of CPU. The user's own code is imported,
not copied.
"""

from __future__ import annotations

import inspect
import math
import shlex
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lrsearch.data.class_balance import balanced_weights
from lrsearch.data.own import items_seed
from lrsearch.data.prepare import fallback_spec, validation_size
from lrsearch.data.raw import unpacked_root
from lrsearch.data.sources import SOURCES
from lrsearch.data.spec import DataInfo, DataSpec
from lrsearch.errors import UserError
from lrsearch.export.names import Names
from lrsearch.export.source_text import CallText, SourceText, call_text, source_of
from lrsearch.export.templates import render
from lrsearch.measures import (
    CLASS_WEIGHTS,
    LOSSES,
    METRICS,
    WEIGHTS,
    Measure,
    evaluated_loss,
    loss_target,
    metric_targets,
    with_weights,
)
from lrsearch.models import MODELS, model_arguments, model_class
from lrsearch.objectives import COMMAND, is_command
from lrsearch.objectives.channel import RECIPE_VARIABLE
from lrsearch.objectives.command_line import CommandLine, command_of
from lrsearch.optimizers import divide_call_of, is_fused
from lrsearch.optimizers.group_rules import GroupRule
from lrsearch.own_code import is_of_main, load_target
from lrsearch.recipe import Recipe
from lrsearch.registry import ComponentConfig, Registry
from lrsearch.schedules.plan import FactorFunction, TorchCall
from lrsearch.settings import Settings
from lrsearch.text.formatting import plural
from lrsearch.text.yaml import to_yaml

RECIPE_FILE = "{recipe_file}"
"""Stands in the command of a script for the file of its recipe."""


def best_script(settings: Settings, info: DataInfo | None, record: Mapping[str, Any]) -> str:
    """Return the script for a record of `best.yaml`.

    `info` are the facts about the data, or None for the user's own training function, which the
    script calls with the recipe. Raises UserError where that is a function of a notebook or a
    script, which no other script can import.
    """
    if is_command(settings.objective):
        return render("command.py.jinja", lambda names: _command(settings, record))
    if settings.objective is not None and is_of_main(settings.objective.name):
        raise UserError(
            f"{settings.objective.name} is a function of a notebook or a script, which no other "
            f"script can import: lrsearch.Recipe.from_file reads the recipe from best.yaml"
        )
    if info is None:
        return render("function.py.jinja", lambda names: _function(settings, record, names))
    data = info
    return render("training.py.jinja", lambda names: _training(settings, data, record, names))


def _training(
    settings: Settings, info: DataInfo, record: Mapping[str, Any], names: Names
) -> dict[str, Any]:
    """The context of the template for lrsearch's own loop."""
    recipe, train = Recipe.from_dict(record["recipe"]), settings.train
    spec = settings.data.with_arguments(recipe.data)
    length = train.length(recipe.batch_size, info.n_train)
    batch_size = min(recipe.batch_size, info.n_train or recipe.batch_size)
    path, arguments = recipe.optimizer_call()
    divide = _divide(recipe)
    call, warmup = recipe.call(length)
    grouped = bool(recipe.groups) or divide is not None
    own_shapes = settings.model.own or spec.target is not None
    loss = loss_target(train.loss, info.n_classes, info.has_labels)
    measures = list(_measures(settings, loss, info, own_shapes, names))
    is_own = train.loss_step is not None
    training_loss = None if is_own else _training_loss(loss, info, own_shapes, names)
    # Where `auto` has halved the batches, that was for the memory of a device.
    micro_batch = train.fixed_micro_batch
    pieces = math.ceil(batch_size / (micro_batch or batch_size))
    divisor = None if is_own or pieces == 1 else _divisor(loss, info)
    if divisor is not None and training_loss is not None and training_loss.weights is not None:
        arguments_of_sum = {**training_loss.call.arguments, "reduction": "sum"}
        training_loss = replace(
            training_loss, call=CallText(training_loss.call.function, arguments_of_sum)
        )
    differs = training_loss is not None and training_loss.call != measures[0].call
    computed = measures if training_loss is None else [*measures, training_loss]
    functions = {
        name: _own_function(config, names)
        for name, config in (
            ("loss_step", train.loss_step),
            ("evaluate", train.evaluate),
            ("collate", spec.loader.collate_fn),
        )
    }
    # An average of the weights is evaluated on a copy, whose optimizer has no modes.
    switches = recipe.optimizer.own and train.ema is None
    return {
        "summary": _summary(recipe, record, settings.space.searched),
        "folder": str(Path.cwd()),
        "seed": record["seed"],
        "batch_size": batch_size,
        "length": length,
        "threads": train.threads,
        "device": train.device,
        "augment": {"crop": spec.crop, "flip": spec.flip} if spec.crop or spec.flip else None,
        # Data and models of the catalogue are float32 and need no conversion.
        "any_precision": own_shapes,
        "data": _data(spec, info, names),
        "model": _model(settings, recipe, info, names),
        "fits": _fits(measures),
        "measures": measures,
        "measure_sources": dict.fromkeys(
            source for measure in computed for source in measure.sources
        ),
        # None where it is the same as the loss that is evaluated.
        "training_loss": training_loss if differs else None,
        "amp": train.amp,
        "lr": recipe.lr,
        "freeze": recipe.freeze,
        "rules": [_rule(rule) for rule in recipe.groups],
        "grouped": grouped,
        # An optimizer of the user's own may make groups of its own.
        "follows": grouped or recipe.optimizer.own,
        "divide": divide,
        "optimizer": CallText(_named(path, names), {**arguments, **_fused(recipe)}),
        "optimizer_source": source_of(path) if _is_copied(path) else None,
        "own_optimizer": recipe.optimizer.own,
        "trained": SourceText("model, optimizer" if switches else "model"),
        "evaluated": SourceText(
            "averaged.module"
            if train.ema is not None
            else "model, optimizer"
            if switches
            else "model"
        ),
        "folds": spec.folds,
        "split_seed": spec.split_seed,
        "seed_name": SourceText("SEED" if spec.folds is None else "seed"),
        "ema": train.ema,
        "early_stopping": train.early_stopping,
        "and_not_ended": SourceText(" and not ended" if train.early_stopping else ""),
        "or_ended": SourceText(" or ended" if train.early_stopping else ""),
        "channels_last": train.channels_last,
        "compile_mode": train.compile_mode,
        "scheduler": _scheduler(call, names),
        "scheduler_is_own": call.is_own,
        "warmup": warmup,
        "monitor": call.monitor,
        "pieces": pieces,
        "divisor": divisor,
        "micro_batch": micro_batch or batch_size,
        "own": functions,
        "is_pairs": info.is_pairs,
        "lays_out": train.channels_last and (train.evaluate is not None or not info.is_pairs),
        "grad_clip": recipe.grad_clip,
        "evaluation_size": train.evaluation_batch,
        "metric": settings.metric,
    }


def _is_copied(path: str) -> bool:
    """Whether a function or class is lrsearch's: the script contains its source."""
    return path.startswith("lrsearch.")


def _named(path: str, names: Names) -> SourceText:
    """The name of a function or class in the script."""
    return SourceText(path.rpartition(".")[2]) if _is_copied(path) else names.of(path)


def _fused(recipe: Recipe) -> dict[str, Any]:
    """The argument for torch's fused implementation, which is used on CUDA alone."""
    if not is_fused(recipe.optimizer, "cuda"):
        return {}
    return {"fused": SourceText('DEVICE.type == "cuda" or None')}


def _divide(recipe: Recipe) -> dict[str, Any] | None:
    """The function that makes finer parameter groups: its source, and the call."""
    call = divide_call_of(recipe.optimizer)
    if call is None:
        return None
    function, arguments = call
    return {
        "source": source_of(f"{function.__module__}.{function.__qualname__}"),
        "call": CallText(SourceText(function.__qualname__), arguments),
    }


def _rule(rule: GroupRule) -> CallText:
    """The rule of a parameter group as a call in the script."""
    facts = {"name": rule.name, "use": rule.use, "match": rule.match}
    return CallText(SourceText("GroupRule"), {**facts, "arguments": dict(rule.arguments)})


def _scheduler(call: TorchCall, names: Names) -> CallText:
    """The call of the torch scheduler; a factor function of the user's own is imported."""
    arguments = {
        key: _factor(value, names) if isinstance(value, FactorFunction) else value
        for key, value in call.arguments.items()
    }
    return CallText(names.of(call.path), arguments)


def _factor(function: FactorFunction, names: Names) -> SourceText:
    """A lambda of the scheduler's step that calls the user's factor function."""
    progress = f"(step + {function.offset}) / {function.steps}"
    factor = call_text(CallText(names.of(function.target), function.arguments), progress)
    return SourceText(f"lambda step: max(0.0, float({factor}))")


def _summary(recipe: Recipe, record: Mapping[str, Any], searched: Collection[str]) -> list[str]:
    """The lines of the script's docstring."""
    lines = [
        recipe.describe(searched),
        "",
        f"The best recipe of the study {record['study']} (trial {record['trial']}): "
        f"{record['metric']} {record['value']!r}",
        f"at the {record['at']} evaluation, found by lrsearch. Plain PyTorch.",
    ]
    confirmed = record.get("confirmed")
    if confirmed is not None:
        runs = plural(len(confirmed["values"]), "run")
        lines.append(
            f"Confirmed on fresh seeds: {record['metric']} {confirmed['mean']!r}, mean of {runs}."
        )
    warning = record.get("WARNING")
    return [*lines, f"WARNING: {warning}"] if warning else lines


def _data(spec: DataSpec, info: DataInfo, names: Names) -> dict[str, Any]:
    """How the script loads the data."""
    if spec.target is not None:
        return {
            "own": True,
            # Only streamed Datasets read their items again in each epoch.
            "streamed": info.file is None,
            "load": CallText(names.of(spec.target), spec.arguments),
            "seeds": [items_seed(part) for part in ("train", "validation")],
            # The numbers are the same whichever process reads the data, except for an
            # IterableDataset, of which each process reads its share.
            "workers": spec.loader.num_workers or (1 if info.is_stream else 2),
            "has_stream": info.is_stream,
        }
    if info.name != info.wanted:
        spec = fallback_spec(spec)
    source, arguments = SOURCES[spec.name], dict(spec.arguments)
    n_validation = info.n_validation
    if spec.folds is not None:  # the pool is of the two parts of the ordinary split
        assert info.n_train is not None, "the length of data in memory is known"
        assert info.n_validation is not None, "the length of data in memory is known"
        n_validation = validation_size(source.validation, info.n_train + info.n_validation)
    if source.files is not None:
        root = unpacked_root(source.files, spec.root_folder, spec.cache_folder)
        arguments["root"] = str(root)
    return {
        "own": False,
        "streamed": False,
        "has_stream": False,
        "images": source.images,
        "source": source_of(f"lrsearch.data.sources.{spec.name}"),
        "load": CallText(SourceText(spec.name), arguments),
        "n_validation": n_validation,
        "split_seed": spec.split_seed,
    }


def _model(settings: Settings, recipe: Recipe, info: DataInfo, names: Names) -> dict[str, Any]:
    """How the script builds the model, with its source if it is of the catalogue."""
    model = settings.model
    arguments = {**model.arguments, **recipe.model}
    if model.own:
        arguments = model_arguments(model_class(model), arguments, info)
        return {"source": None, "build": CallText(names.of(model.name), arguments)}
    path = MODELS[model.name].path
    shape = {"input_shape": info.input_shape, "n_outputs": info.n_outputs}
    return {
        "source": source_of(path, with_helpers=True),
        "build": CallText(SourceText(path.rpartition(".")[2]), {**shape, **arguments}),
    }


@dataclass(frozen=True)
class _Measure:
    """A loss or a metric in the script."""

    name: str
    call: CallText
    sources: tuple[SourceText, ...]
    """The sources of functions of lrsearch; functions of others are imported."""
    is_class: bool
    """Whether the call creates the measure; otherwise it takes outputs and targets itself."""
    fit: str | None
    """Name of the function that reshapes outputs and targets; None if that is not needed."""
    weights: tuple[float, ...] | None = None
    """The weights that the call refers to as `weights`; None without."""


def _own_function(config: ComponentConfig | None, names: Names) -> SourceText | None:
    """The source of a function of the user's with its arguments; of a class, of an instance."""
    if config is None or config.target is None:
        return None
    name, arguments = names.of(config.target), config.arguments
    if inspect.isclass(load_target(config.target, "train")):
        return call_text(CallText(name, arguments))
    return (
        call_text(CallText(SourceText("functools.partial"), arguments), name) if arguments else name
    )


def _measures(
    settings: Settings, loss: ComponentConfig, info: DataInfo, own_shapes: bool, names: Names
) -> Iterator[_Measure]:
    """The measures that are evaluated on batches (x, y).

    `own_shapes`: whether the model or the data are the user's own.
    """
    train = settings.train
    if not info.is_pairs or (train.loss_step is not None and train.evaluate is not None):
        return
    yield _measure("val_loss", evaluated_loss(loss), LOSSES, own_shapes, names)
    is_own = train.evaluate is not None
    metrics = {} if is_own else metric_targets(train.metrics, info.n_classes)
    for name, target in metrics.items():
        yield _measure(f"val_{name}", target, METRICS, own_shapes, names)


def _measure(
    name: str,
    target: ComponentConfig,
    registry: Registry[Measure],
    own_shapes: bool,
    names: Names,
) -> _Measure:
    path = target.target or registry[target.name].path
    return _Measure(
        name,
        CallText(_named(path, names), target.arguments),
        (source_of(path),) if _is_copied(path) else (),
        is_class=target.own and inspect.isclass(load_target(path, "train")),
        # Outputs of the catalogue's models fit the shape of the catalogue's targets.
        fit=registry[target.name].fit if own_shapes and not target.own else None,
    )


def _training_loss(
    loss: ComponentConfig, info: DataInfo, own_shapes: bool, names: Names
) -> _Measure:
    """The loss of the training; its weights are numbers in the script."""
    loss = with_weights(loss, lambda: balanced_weights(info))
    given = {} if loss.own else {name: loss.arguments.get(name) for name in WEIGHTS}
    name = next((name for name, value in given.items() if value is not None), None)
    if name is None:
        return _measure("train_loss", loss, LOSSES, own_shapes, names)
    argument, fit = WEIGHTS[name]
    arguments = {key: value for key, value in loss.arguments.items() if key not in WEIGHTS}
    arguments[argument] = SourceText(f"{fit}(weights, outputs)")
    measure = _measure(
        "train_loss", ComponentConfig(loss.name, arguments), LOSSES, own_shapes, names
    )
    functions = {"weights_like": 0, fit: 0}  # the others use the first
    return replace(
        measure,
        sources=tuple(source_of(f"lrsearch.measures.functions.{one}") for one in functions),
        weights=tuple(map(float, loss.arguments[name])),
    )


def _divisor(loss: ComponentConfig, info: DataInfo) -> CallText | None:
    """What the mean loss is divided by, as a call that takes targets; None for their number."""
    name = None if loss.own else LOSSES[loss.name].divisor
    if name is None or info.n_classes is None:
        return None
    arguments = {key: loss.arguments[key] for key in ("ignore_index",) if key in loss.arguments}
    if loss.arguments.get(CLASS_WEIGHTS) is not None:
        arguments["weight"] = SourceText("weights")
    return CallText(SourceText(name), arguments)


def _fits(measures: list[_Measure]) -> list[str]:
    """The names of the functions of `measures.shapes` that the script needs."""
    calls = {"numbers": (), "class_indices": (), "class_targets": ("class_indices",)}
    used = {measure.fit for measure in measures if measure.fit is not None}
    wanted = used.union(*(calls[name] for name in used))
    return ["alike", *(name for name in calls if name in wanted)] if used else []


def _command(settings: Settings, record: Mapping[str, Any]) -> dict[str, Any]:
    """The context of the template for the user's own script."""
    train = settings.train
    recipe = {key: record[key] for key in ("recipe", "seed")} | {"epochs": train.epochs}
    recipe |= {} if train.steps is None else {"steps": train.steps}
    return {
        "summary": _found(record),
        "folder": str(Path.cwd()),
        "command": words_by_hand(settings, record, RECIPE_FILE),
        "recipe_file": RECIPE_FILE,
        "recipe": to_yaml(recipe),
    }


def words_by_hand(settings: Settings, record: Mapping[str, Any], recipe_file: str) -> list[str]:
    """The command of the user's own script as it is run by hand with the recipe of a record."""
    values = {
        "seed": record["seed"],
        "epochs": settings.train.epochs,
        "steps": settings.train.steps,
        "device": settings.train.device,
        "checkpoint_dir": "checkpoints",
        "recipe_file": recipe_file,
    }
    recipe = Recipe.from_dict(record["recipe"])
    return command_of(_command_line(settings), recipe, values, lambda name: name)


def _command_line(settings: Settings) -> CommandLine:
    """The configured command line of the user's own script."""
    assert settings.objective is not None
    return CommandLine.parse(settings.objective.arguments[COMMAND], f"objective.{COMMAND}", [])


def line_by_hand(settings: Settings, record: Mapping[str, Any], recipe_file: str) -> str:
    """The same as a line for a shell; a script whose command has no values gets the recipe file."""
    words = shlex.join(words_by_hand(settings, record, recipe_file))
    if _command_line(settings).gives_recipe:
        return words
    return f"{RECIPE_VARIABLE}={shlex.quote(recipe_file)} {words}"


def _found(record: Mapping[str, Any]) -> list[str]:
    """A line on where a recipe is from."""
    return [
        f"The best recipe of the study {record['study']}, found by lrsearch: "
        f"{record['metric']} {record['value']!r}."
    ]


def _function(settings: Settings, record: Mapping[str, Any], names: Names) -> dict[str, Any]:
    """The context of the template for the user's own training function."""
    assert settings.objective is not None
    return {
        "summary": _found(record),
        "folder": str(Path.cwd()),
        "function": names.of(settings.objective.name),
        "recipe": record["recipe"],
        "arguments": settings.objective.arguments,
        "seed": record["seed"],
        "epochs": settings.train.epochs,
        "steps": settings.train.steps,
        "threads": settings.train.threads,
    }
