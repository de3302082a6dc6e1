"""The parts of a configuration that are more than a flat section."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal

from lrsearch.config.command import named_command
from lrsearch.config.own_arguments import ARGUMENTS
from lrsearch.config.sections import mapping, section
from lrsearch.config.training_options import read_training_options
from lrsearch.data.sources import FALLBACKS, SOURCES
from lrsearch.data.spec import DataSpec, LoaderSettings
from lrsearch.errors import UserError
from lrsearch.loggers import LOGGERS
from lrsearch.measures import LOSSES, METRICS
from lrsearch.models import MODELS
from lrsearch.objectives import COMMAND, OBJECTIVES, is_command
from lrsearch.optimizers.group_rules import parse_rules, regex_problem
from lrsearch.parameters.durations import Duration
from lrsearch.parameters.parameter import Parameter
from lrsearch.registry import TARGET, Component, ComponentConfig, Registry, read_own
from lrsearch.settings import ConfirmSettings
from lrsearch.text.hints import as_given, unknown
from lrsearch.training.settings import TrainSettings
from lrsearch.tuning.pruners import PRUNERS, build_pruner
from lrsearch.tuning.samplers import SAMPLERS

_LONGEST_NAME = 200


def study_node(node: Any, sweep: Any, is_new: bool, problems: list[str]) -> dict[str, Any]:
    """The study's section with its name, which is the sweep's unless given.

    What `is_new` must have a name that commands can name it by.
    """
    with_name = mapping("study", node, problems)
    given = with_name.get("name")
    with_name["name"] = name = f"{sweep if given is None else given}"
    if is_new and (problem := _problem_of_name(name)):
        advice = "; the sweep's name is no name for a study: give study.name=..."
        problems.append(f"study.name: {problem}{advice if given is None else ''}")
    if with_name.get("balance") == ["families"]:
        with_name["balance"] = "families"
    if isinstance(word := with_name.get("balance"), str) and word != "families":
        valid = ("families", "[optimizer]", "[scheduler]", "[optimizer, scheduler]")
        problems.append(f"study.balance: {unknown(word, valid)}")
        with_name["balance"] = ()
    return with_name


def _problem_of_name(name: str) -> str | None:
    """Why a study cannot have this name, which also names a folder of outputs."""
    shown = repr(name) if len(name) <= 60 else f"{name[:60]!r}..."
    why = {
        "it is empty": not name.strip(),
        "it has a slash": "/" in name or "\\" in name,
        "it has a `=`": "=" in name,
        "it has characters that cannot be printed": not name.isprintable(),
        "it begins or ends with a space": bool(name.strip()) and name != name.strip(),
        f"it begins with {name[:1]}": name[:1] in ("-", "+", "~"),
        "it is a folder": name in (".", ".."),
        "it ends like a file": name.endswith((".yaml", ".yml")),
        f"it has more than {_LONGEST_NAME} bytes": len(name.encode(errors="replace"))
        > _LONGEST_NAME,
    }
    wrong = [reason for reason, holds in why.items() if holds]
    if not wrong:
        return None
    return (
        f"{shown} cannot be the name of a study: {' and '.join(wrong)}; a name is printable text "
        f"without slashes and `=` that does not begin with - + or ~"
    )


def train_from(node: Any, problems: list[str]) -> TrainSettings | None:
    """How a trial trains, with defaults for what has problems; other parts here are None then."""
    before = len(problems)
    node = mapping("train", node, problems)
    if node.get("loss") is not None:
        node["loss"] = LOSSES.read(node["loss"], "train.loss", problems)
    if node.get("metrics") is not None:
        metrics = node["metrics"]
        if isinstance(metrics, list):
            metrics = {name: name for name in metrics}
        node["metrics"] = {
            name: METRICS.read(value or name, f"train.metrics.{name}", problems)
            for name, value in mapping("train.metrics", metrics, problems).items()
        }
    for key in ("loss_step", "evaluate"):
        node[key] = own_function_from(node.get(key), f"train.{key}", problems)
    if node["evaluate"] is not None and node.get("metrics") is not None:
        problems.append(
            "train.metrics: train.evaluate returns the values of an evaluation: leave one of the "
            "two out"
        )
    if len(problems) > before:
        node.pop("loss", None)
        node.pop("metrics", None)
    node["groups"] = parse_rules("train.groups", node.get("groups"), problems)
    read_training_options(node, problems)
    if node.get("freeze") is not None and (problem := regex_problem(node["freeze"])):
        problems.append(f"train.freeze: {problem}")
        del node["freeze"]
    if (every := node.get("eval_every")) is not None:
        problem = Parameter("duration", None).problem(every)
        if problem or Duration.parse(every).amount <= 0:
            problems.append(f"train.eval_every: {problem or f'{as_given(every)} is not above 0'}")
            del node["eval_every"]
    if isinstance(device := node.get("device"), str) and not _is_device(device):
        devices = ("auto", "cpu", "cuda", "mps", "cuda:0")
        problems.append(f"train.device: {unknown(device, devices)}")
        del node["device"]
    return section("train", node, TrainSettings, problems)


def settle_length(
    node: dict[str, Any], layers: Sequence[tuple[str, Any]], problems: list[str]
) -> list[str]:
    """Let `epochs` or `steps` of the most specific layer win over the other, in place.

    `layers` are the sections that `node` was merged from, each with its place, the most specific
    one last. Both keys in one layer are a problem. Returns a note where one key wins.
    """
    given = {}
    for place, layer in layers:
        train = layer if isinstance(layer, Mapping) else {}
        keys = ("epochs", "steps")
        given[place] = {key: train[key] for key in keys if train.get(key) is not None}
    problems.extend(
        f"train: both epochs={node['epochs']} and steps={node['steps']} are given {place}: "
        f"a training has one length, so leave one of them out"
        for place, node in given.items()
        if len(node) == 2
    )
    said = [
        (place, *item) for place, node in given.items() if len(node) == 1 for item in node.items()
    ]
    if not said:
        return []
    place, key, value = said[-1]
    others = [f"train.{k}={v} ({p})" for p, k, v in said[:-1] if k != key]
    if key == "epochs" and node.get("steps") is not None:
        others = others or [f"train.steps={node['steps']}"]
        node["steps"] = None
    return [f"train.{key}={value} ({place}) wins over {others[-1]}"] if others else []


def _is_device(device: str) -> bool:
    kind, _, index = device.partition(":")
    return kind in ("auto", "cpu", "cuda", "mps") and (not index or index.isdigit())


def model_from(node: Any, problems: list[str]) -> ComponentConfig | None:
    """A model by name, or the user's own; all of it but the data's sizes."""
    node = mapping("model", node, problems)
    if node.get(TARGET) is not None:
        node.pop("name", None)
        named_alike = mapping("model.arguments", node.pop(ARGUMENTS, None), problems)
        return read_own({**node, **named_alike}, "model", problems)
    return MODELS.read(node, "model", problems)


def own_function_from(node: Any, path: str, problems: list[str]) -> ComponentConfig | None:
    """Read a function of the user's own, `{_target_: mypkg.function, ...}`, or nothing."""
    if node is None:
        return None
    if not isinstance(node, Mapping) or node.get(TARGET) is None:
        example = path.rpartition(".")[2]
        given = as_given(dict(node) if isinstance(node, Mapping) else node)
        problems.append(f"{path}: {given} names no function: write {{{TARGET}: mypkg.{example}}}")
        return None
    return read_own(node, path, problems)


def loader_from(node: Any, problems: list[str]) -> LoaderSettings:
    """Read how streamed Datasets are read, with defaults for what has problems."""
    node = mapping("data.loader", node, problems)
    node["collate_fn"] = own_function_from(
        node.get("collate_fn"), "data.loader.collate_fn", problems
    )
    loader = section("data.loader", node, LoaderSettings, problems) or LoaderSettings()
    if loader.num_workers == 0 and loader.prefetch_factor is not None:
        problems.append("data.loader.prefetch_factor: with num_workers=0 nothing is read ahead")
    return loader


_DATA_KEYS = frozenset(field.name for field in fields(DataSpec)) - {"target", "arguments"}


def data_from(node: Any, problems: list[str]) -> DataSpec | None:
    """Where the data come from; arguments of the user's own function are not checked."""
    before = len(problems)
    node = mapping("data", node, problems)
    dotted = node.pop(TARGET, None)
    own = {key: node.pop(key) for key in [*node] if key not in _DATA_KEYS}
    if dotted is not None:
        own |= mapping("data.arguments", own.pop(ARGUMENTS, None), problems)
        read_own({TARGET: dotted}, "data", problems)
        node["name"], node["fallback"] = str(dotted), None
    elif node.get("name") not in SOURCES:
        problems.append(f"data: {SOURCES.unknown(node.get('name'))}")
    if node.get("fallback") is not None and node["fallback"] not in FALLBACKS:
        problems.append(f"data.fallback: {unknown(node['fallback'], [*FALLBACKS, 'null'])}")
    if dotted is None and node.get("name") in SOURCES:
        source = SOURCES[node["name"]]
        wrong = [key for key in own if key not in source.parameters]
        valid = [*_DATA_KEYS, *source.parameters]
        problems.extend(f"data.{key}: {unknown(key, valid)}" for key in wrong)
        known = {key: value for key, value in own.items() if key in source.parameters}
        problems.extend(source.problems("data", known))
    if dotted is None and node.get("fingerprint") is not None:
        problems.append(
            f"data.fingerprint: {as_given(node['fingerprint'])} is for streamed Datasets of your "
            f"own (data._target_): leave it out"
        )
    if dotted is None and node.get("loader") is not None:
        problems.append("data.loader: it is for Datasets of your own (data._target_): leave it out")
    node["loader"] = loader = loader_from(node.get("loader"), problems)
    if loader.collate_fn is not None and node.get("in_memory") == "always":
        problems.append(
            "data.in_memory: with data.loader.collate_fn batches are made of items anew in each "
            "epoch: leave in_memory out"
        )
    for key in ("root", "cache"):
        node[key] = Path(str(node.get(key))).expanduser()
    if len(problems) > before:
        return None
    known = {**node, "target": dotted, "arguments": own}
    return section("data", known, DataSpec, problems)


def sampler_from(node: Any, problems: list[str]) -> ComponentConfig | None:
    """Read the sampler."""
    return SAMPLERS.read(node, "sampler", problems)


def pruner_from(node: Any, problems: list[str]) -> ComponentConfig | None:
    """Read the pruner, and check that its arguments do not contradict one another."""
    pruner = PRUNERS.read(node, "pruner", problems)
    if pruner is not None and not pruner.own:
        try:
            build_pruner(pruner, evaluations=1, mode="min")
        except UserError as error:  # arguments that contradict one another
            problems.append(str(error))
            return None
    return pruner


def logger_from(node: Any, problems: list[str]) -> ComponentConfig | None:
    """Read the logger; `none` unless given."""
    return LOGGERS.read(node or "none", "logger", problems)


def objective_options(node: Any, problems: list[str]) -> tuple[Any, bool]:
    """Return an objective without what stands beside it that is lrsearch's: `strict_lr`."""
    if not isinstance(node, Mapping):
        return node, False
    rest = {key: value for key, value in node.items() if key != "strict_lr"}
    if node.get(TARGET) is not None:
        rest |= mapping("objective.arguments", rest.pop(ARGUMENTS, None), problems)
    strict = node.get("strict_lr", False)
    if not isinstance(strict, bool):
        problems.append(f"objective.strict_lr: {as_given(strict)} is not true or false")
    return rest, strict is True


def objective_from(node: Any, problems: list[str]) -> ComponentConfig | None:
    """Read the user's own objective, a function or a script; None where lrsearch trains."""
    if node is None:
        return None
    if isinstance(node, Mapping) and not {"name", TARGET, COMMAND} & node.keys():
        problems.append(
            "objective: it names no training of yours, a function (objective._target_) or a script "
            "(objective.command): name one, or leave the section out"
        )
        return None
    objective = OBJECTIVES.read(named_command(node), "objective", problems)
    if objective is None or not (objective.own or is_command(objective)):
        return None
    return objective


def confirm_from(node: Any, problems: list[str]) -> ConfirmSettings | None:
    """Read the confirmation; None where it is missing or switched off."""
    if node is None:
        return None
    if not isinstance(node, Mapping):
        problems.append(
            f"confirm: {as_given(node)} is not a mapping: write confirm.top=3 or confirm=null"
        )
        return None
    return section("confirm", node, ConfirmSettings, problems)


def with_gpus_of(
    objective: ComponentConfig | None, train: TrainSettings | None, problems: list[str]
) -> TrainSettings | None:
    """The settings of the training with the number of GPUs that `objective.gpus` gives a script."""
    gpus = objective.arguments.get("gpus") if objective and is_command(objective) else None
    if gpus is None or train is None:
        return train
    if train.gpus not in (TrainSettings.gpus, gpus):
        problems.append(
            f"objective.gpus: {gpus:g}, and train.gpus is {train.gpus:g}: leave one of them out"
        )
    return dataclasses.replace(train, gpus=gpus)


def launcher_from(
    node: Any, workers: Any, launchers: Registry[Component], problems: list[str]
) -> tuple[ComponentConfig, int | Literal["auto"]]:
    """Read the launcher, and the number of workers, which may stand in its section, too."""
    section: Any = {"name": node} if isinstance(node, str) else node
    own = None
    if isinstance(section, Mapping):
        section = dict(section)
        own = section.pop("workers", None)
    launcher = launchers.read(section or "local", "launcher", problems)
    before = len(problems)
    _check_workers("workers", workers, problems)
    if own is not None:
        _check_workers("launcher.workers", own, problems)
    if len(problems) == before and own is not None:
        if "auto" not in (own, workers) and own != workers:
            problems.append(
                f"launcher.workers: {own}, and workers is {workers}: they are the same number, so "
                f"leave one of them out"
            )
        workers = workers if own == "auto" else own
    return launcher or ComponentConfig("local"), workers


def _check_workers(path: str, value: Any, problems: list[str]) -> None:
    """Check a number of workers, or `auto`."""
    whole = isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 4096
    if value != "auto" and not whole:
        problems.append(f"{path}: {as_given(value)} is not `auto` or a number from 1")


def folder(path: str, value: Any, problems: list[str]) -> str:
    """Read the name of a folder, which must not be empty."""
    if isinstance(value, str | int) and not isinstance(value, bool) and str(value).strip():
        return str(value)
    problems.append(f"{path}: {as_given(value)} is not a folder; `.` is the one you are in")
    return ""
