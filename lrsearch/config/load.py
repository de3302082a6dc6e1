"""Read a configuration: plain mappings in, frozen dataclasses out, every problem at once.

A new configuration comes from files and the command line (`new_configuration`); its stored part
comes back from a study's row or a `best.yaml` (`stored_settings`). Nothing else reads one.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from lrsearch.config import parts
from lrsearch.config.argument_types import settle_types
from lrsearch.config.checks import check_together, check_values
from lrsearch.config.metric import settle_mode, settle_monitors
from lrsearch.config.own_arguments import ARGUMENTS, OURS, settle_arguments
from lrsearch.config.secrets import check_credentials
from lrsearch.config.sections import mapping, section
from lrsearch.config.service import service_values
from lrsearch.config.storage import storage_url
from lrsearch.errors import ConfigErrors
from lrsearch.registry import Component, Registry
from lrsearch.settings import (
    Configuration,
    ConfirmSettings,
    MetricSettings,
    QueueSettings,
    RuntimeSettings,
    Settings,
    StudySettings,
)
from lrsearch.space.names import OWNERS, ParameterName
from lrsearch.space.own_options import resolve_own
from lrsearch.space.parse import parse_space, settle_kinds
from lrsearch.space.space import Coupling
from lrsearch.text.hints import as_given, closest, unknown
from lrsearch.training.settings import TrainSettings

STORED = (
    "sweep", "description", "study", "metric", "train", "data", "model", "objective", "space",
    "coupling", "sampler", "pruner", "logger", "queue", "confirm",
)  # fmt: skip
RUNTIME = ("storage", "launcher", "workers", "output_dir", "dry_run")
TOP_LEVEL = (*STORED, *RUNTIME)
Layer = tuple[str, Mapping[str, Any]]
"""Where a part of the configuration comes from (`in sweeps/mine.yaml`), and what it says."""


def written_keys(layers: Sequence[Layer], section: str) -> set[str]:
    """The keys of a section that the user has written."""
    nodes = [layer.get(section) for _, layer in layers]
    return {str(key) for node in nodes if isinstance(node, Mapping) for key in node}


def new_configuration(
    plain: Mapping[str, Any],
    launchers: Registry[Component],
    layers: Sequence[Layer] = (),
    defaults: Mapping[str, Any] | None = None,
) -> Configuration:
    """Check a composed configuration and import the user's code that it names.

    `launchers` are those that may be named. `layers` are what the user has written, parts, sweep
    and command line, each with its place, the first one first; `defaults` is what they were merged
    into. Raises ConfigErrors with a line for each problem: the key, the bad value and the valid
    ones.
    """
    problems = [_unknown_key(key) for key in plain if key not in TOP_LEVEL]
    runtime = _runtime({key: plain.get(key) for key in RUNTIME}, launchers, problems)
    stored = {key: node for key, node in plain.items() if key not in RUNTIME}
    settled = _settled_sections(stored, layers, defaults or {}, problems)
    settings = _settings({**stored, **settled}, layers, True, problems)
    return Configuration(settings, runtime)


def stored_settings(config: Mapping[str, Any], **sections: Mapping[str, Any]) -> Settings:
    """Read the settings that a study is stored with.

    `sections` hold keys that have other values in this process: `data={"root": ...}`. What is
    stored must stay readable, so it is checked less closely than a new configuration, and no code
    of the user's is imported. Raises ConfigErrors.
    """
    changed = {key: {**(config.get(key) or {}), **new} for key, new in sections.items() if new}
    problems = [_unknown_key(key) for key in config if key not in STORED]
    return _settings({**config, **changed}, (), False, problems)


def with_space(settings: Settings, space: Mapping[str, Any]) -> Settings:
    """The settings of the same study with another space, given as in a configuration.

    Raises ConfigErrors where the rest of the settings does not fit it.
    """
    problems: list[str] = []
    before = settings.space
    parsed = parse_space(
        space, before.coupling, problems, groups=before.groups, freeze=before.freeze
    )
    check_together({**vars(settings), "space": parsed}, problems)
    if parsed is None or problems:
        raise ConfigErrors(problems)
    plain = {**settings.plain, "space": space}
    return dataclasses.replace(settings, space=parsed, plain=plain)


def _runtime(
    nodes: Mapping[str, Any], launchers: Registry[Component], problems: list[str]
) -> RuntimeSettings:
    storage = mapping("storage", nodes["storage"], problems)
    checkpoints, dry_run = storage.get("checkpoints"), nodes["dry_run"]
    launcher, workers = parts.launcher_from(
        nodes["launcher"], nodes["workers"], launchers, problems
    )
    runtime = RuntimeSettings(
        storage_url=storage_url(storage, problems),
        checkpoints_url=checkpoints,
        workers=workers,
        output_dir=parts.folder("output_dir", nodes["output_dir"], problems),
        dry_run=dry_run,
        launcher=launcher,
    )
    if not isinstance(dry_run, bool):
        problems.append(f"dry_run: {as_given(dry_run)} is not true or false")
    check_credentials(nodes["output_dir"], "output_dir", problems)
    check_credentials(checkpoints, "storage.checkpoints", problems)
    return runtime


def _settings(
    plain: Mapping[str, Any], layers: Sequence[Layer], is_new: bool, problems: list[str]
) -> Settings:
    """Check the stored part; raise ConfigErrors with its problems and those already known."""
    nodes = {key: plain.get(key) for key in STORED}
    space = mapping("space", nodes["space"], problems)
    settle_kinds(space, [layer["space"] for _, layer in layers if _has(layer, "space")])
    study = parts.study_node(nodes["study"], nodes["sweep"], is_new, problems)
    train_node = mapping("train", nodes["train"], problems)
    train_layers = [(place, layer.get("train")) for place, layer in layers]
    notes = parts.settle_length(train_node, train_layers, problems)
    train = parts.train_from(train_node, problems)
    coupling = section("coupling", nodes["coupling"], Coupling, problems)
    objective_node, strict_lr = parts.objective_options(nodes["objective"], problems)
    objective = parts.objective_from(objective_node, problems)
    train = parts.with_gpus_of(objective, train, problems)
    metric = mapping("metric", nodes["metric"], problems)
    settle_mode(metric, train, objective is not None, problems)
    wrong_monitors = settle_monitors(space.get("scheduler"), metric, train)
    model = parts.model_from(nodes["model"], problems)
    data = parts.data_from(nodes["data"], problems)
    components = None
    if is_new:
        components = resolve_own(space, problems)
        is_ours = objective is None
        arguments = {key: node for key, node in space.items() if _is_owned(str(key))}
        notes += settle_types(arguments, model if is_ours else None, data if is_ours else None)
    values: dict[str, Any] = {
        "study": section(
            "study", service_values(study, "study", problems), StudySettings, problems
        ),
        "train": train,
        "metric": section("metric", metric, MetricSettings, problems),
        "model": model,
        "data": data,
        "objective": objective,
        "strict_lr": strict_lr,
        "sampler": parts.sampler_from(nodes["sampler"], problems),
        "pruner": parts.pruner_from(nodes["pruner"], problems),
        "logger": parts.logger_from(nodes["logger"], problems),
        "space": parse_space(
            space,
            coupling or Coupling(),
            problems,
            components,
            train.groups if train else (),
            train.freeze if train else None,
        ),
        "queue": section("queue", nodes["queue"], QueueSettings, problems),
        "confirm": parts.confirm_from(nodes["confirm"], problems),
        **{key: str(nodes[key] or "") for key in ("sweep", "description")},
    }
    check_together(values, problems)
    if is_new:
        problems += wrong_monitors
        check_values(values, problems)
        check_credentials(plain, "", problems)
    if problems:
        raise ConfigErrors(problems)
    stored = _stored(plain, study=study, train=train_node, metric=metric, space=space)
    return Settings(**values, plain=stored, notes=tuple(notes))


def _is_owned(key: str) -> bool:
    """Whether a key of the space is of arguments of the model or the data."""
    return key in OWNERS or ParameterName.parse(key).owner in OWNERS


def _has(layer: Mapping[str, Any], section: str) -> bool:
    return isinstance(layer.get(section), Mapping)


def _settled_sections(
    plain: Mapping[str, Any],
    layers: Sequence[Layer],
    defaults: Mapping[str, Any],
    problems: list[str],
) -> dict[str, Any]:
    """The sections that name the user's code, their arguments told apart from lrsearch's."""
    settled: dict[str, Any] = {}
    objective = plain.get("objective")
    if isinstance(objective, Mapping) and isinstance(objective.get("_target_"), str):
        settled["objective"] = _settled_objective(objective, problems)
    for name in OWNERS if plain.get("objective") is None else ():
        node = plain.get(name)
        if isinstance(node, Mapping) and isinstance(node.get("_target_"), str):
            given = written_keys(layers, name)
            space = plain["space"] if _has(plain, "space") else {}
            searched = space[name] if _has(space, name) else {}
            tuned = [argument for argument, domain in searched.items() if domain is not None]
            settled[name] = settle_arguments(
                name, node, given, tuned, defaults.get(name) or {}, problems
            )
    return settled


def _settled_objective(node: Mapping[str, Any], problems: list[str]) -> dict[str, Any]:
    """The objective; its options are checked by itself, but for those named like lrsearch's."""
    alike = {key for key in node if key in (*OURS["objective"], ARGUMENTS)}
    if not alike:
        return dict(node)
    named = {key: node[key] for key in ("_target_", *alike)}
    rest = {key: value for key, value in node.items() if key not in named}
    return {**settle_arguments("objective", named, alike, (), {}, problems), **rest}


def _stored(plain: Mapping[str, Any], **settled: dict[str, Any]) -> dict[str, Any]:
    """The configuration as it is stored: with the sections in their final form."""
    stored = dict(plain)
    stored |= {key: node for key, node in settled.items() if node or key in stored}
    for key in ("data", "model", "sampler", "pruner", "logger"):
        stored[key] = _without_leftovers(dict(plain.get(key) or {}))
    return stored


_SECTIONS: dict[str, Any] = {
    "study": StudySettings,
    "metric": MetricSettings,
    "queue": QueueSettings,
    "train": TrainSettings,
    "coupling": Coupling,
    "confirm": ConfirmSettings,
}


def meant_key(key: str) -> str | None:
    """The full key for one without its section, `study.n_trials` for `n_trials`; or None."""
    keys = {
        field.name: f"{name}.{field.name}"
        for name, cls in _SECTIONS.items()
        for field in fields(cls)
    } | {name: name for name in TOP_LEVEL if name not in _SECTIONS}
    close = [key] if key in keys else difflib.get_close_matches(key, keys, 1, 0.8)
    return keys[close[0]] if close else None


def _unknown_key(key: str) -> str:
    """The problem with an unknown key at the top, where often a section was left out."""
    if closest(key, TOP_LEVEL) or (meant := meant_key(key)) is None:
        return unknown(key, TOP_LEVEL)
    return f"{key!r} is unknown; did you mean {meant}?"


def _without_leftovers(node: dict[str, Any]) -> dict[str, Any]:
    """The section without what the catalogue's choice has left beside the user's function."""
    if node.get("_target_") is None:
        return node
    return {key: value for key, value in node.items() if key not in ("name", "fallback")}
