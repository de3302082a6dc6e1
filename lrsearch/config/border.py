"""From plain mappings to `Settings`, with every problem collected and named."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from lrsearch.config import parts
from lrsearch.config.argument_types import settle_types
from lrsearch.config.checks import check_together, check_values
from lrsearch.config.metric import settle_mode, settle_monitors
from lrsearch.config.own_arguments import settle_arguments
from lrsearch.config.secrets import check_credentials
from lrsearch.config.sections import mapping, own_target, section, with_numbers
from lrsearch.config.settings import (
    ConfirmSettings,
    MetricSettings,
    QueueSettings,
    Settings,
    StudySettings,
)
from lrsearch.config.storage import storage_url
from lrsearch.data.spec import DataSpec
from lrsearch.errors import ConfigErrors
from lrsearch.hints import as_given, closest, unknown
from lrsearch.space.names import OWNERS
from lrsearch.space.parse import parse_space, settle_kinds
from lrsearch.space.space import Coupling
from lrsearch.training.settings import TrainSettings

TOP_LEVEL = (
    "sweep", "description", "study", "metric", "train", "data", "model", "objective", "space",
    "coupling", "sampler", "pruner", "logger", "queue", "confirm", "storage", "workers",
    "output_dir", "dry_run",
)  # fmt: skip
RUNTIME: dict[str, Any] = {
    "storage": {"url": "sqlite:///lrsearch.db"},
    "workers": 1,
    "output_dir": "outputs",
    "dry_run": False,
}
"""What is not stored with a study, with values that stand in for it."""


def settings_from(
    plain: Mapping[str, Any],
    layers: Sequence[parts.Layer] = (),
    is_new: bool = False,
    defaults: Mapping[str, Any] | None = None,
) -> Settings:
    """The settings of a composed configuration.

    `layers` are what the user has written, parts, sweep and command line, each with its place, the
    first one first; `defaults` is what they were merged into. What `is_new` is looked at more
    closely, and code of the user's is imported: studies that are stored must stay readable. Raises
    ConfigErrors with a line for each problem: the key, the bad value and the valid ones.
    """
    problems = [_unknown_key(key) for key in plain if key not in TOP_LEVEL]
    if is_new:
        plain = {**plain, **_settled_sections(plain, layers, defaults or {}, problems)}
    else:
        sections = {**_SECTIONS, "data": DataSpec}
        numbers = {key: with_numbers(plain[key], sections[key]) for key in sections if key in plain}
        plain = {**plain, **numbers}
    nodes = {key: plain.get(key) for key in TOP_LEVEL}
    space = mapping("space", nodes["space"], problems)
    settle_kinds(space, [layer["space"] for _, layer in layers if _has(layer, "space")])
    study = parts.study_node(nodes["study"], nodes["sweep"], is_new, problems)
    train_node = mapping("train", nodes["train"], problems)
    notes = parts.settle_length(train_node, layers, problems)
    train = parts.train_from(train_node, problems)
    coupling = section("coupling", nodes["coupling"], Coupling, problems)
    objective = own_target("objective", nodes["objective"], problems)
    metric = mapping("metric", nodes["metric"], problems)
    settle_mode(metric, train, objective is not None, problems)
    wrong_monitors = settle_monitors(space.get("scheduler"), metric, train)
    storage = mapping("storage", nodes["storage"], problems)
    model = parts.model_from(nodes["model"], problems)
    data = parts.data_from(nodes["data"], problems)
    if is_new:
        ours = nodes["objective"] is None
        notes += settle_types(space, model if ours else None, data if ours else None)
    found: dict[str, Any] = {
        "study": section("study", study, StudySettings, problems),
        "train": train,
        "metric": section("metric", metric, MetricSettings, problems),
        "model": model,
        "data": data,
        "objective": objective,
        "sampler": parts.sampler_from(nodes["sampler"], problems),
        "pruner": parts.pruner_from(nodes["pruner"], problems),
        "logger": parts.logger_from(nodes["logger"], problems),
        "space": parse_space(space, coupling or Coupling(), problems),
        "queue": section("queue", nodes["queue"], QueueSettings, problems),
        "confirm": parts.confirm_from(nodes["confirm"], problems),
        "storage_url": storage_url(storage, problems),
        "checkpoints_url": storage.get("checkpoints"),
        "workers": parts.workers_from(nodes["workers"], problems),
        "dry_run": nodes["dry_run"],
        "output_dir": parts.folder("output_dir", nodes["output_dir"], problems),
        **{key: str(nodes[key] or "") for key in ("sweep", "description")},
    }
    if not isinstance(nodes["dry_run"], bool):
        problems.append(f"dry_run: {as_given(nodes['dry_run'])} is not true or false")
    check_together(found, problems)
    if is_new:
        problems += wrong_monitors
        check_values(found, problems)
        check_credentials({key: plain[key] for key in plain if key != "storage"}, "", problems)
        check_credentials(storage.get("checkpoints"), "storage.checkpoints", problems)
    if problems:
        raise ConfigErrors(problems)
    stored = _stored(plain, study=study, train=train_node, metric=metric, space=space)
    return Settings(**found, plain=stored, notes=tuple(notes))


def _has(layer: Mapping[str, Any], section: str) -> bool:
    return isinstance(layer.get(section), Mapping)


def _settled_sections(
    plain: Mapping[str, Any],
    layers: Sequence[parts.Layer],
    defaults: Mapping[str, Any],
    problems: list[str],
) -> dict[str, Any]:
    """The sections that name code of the user's, each argument with its owner."""
    settled: dict[str, Any] = {}
    for name in OWNERS if plain.get("objective") is None else ():
        node = plain.get(name)
        if isinstance(node, Mapping) and isinstance(node.get("_target_"), str):
            given = parts.written_keys(layers, name)
            space = plain["space"] if _has(plain, "space") else {}
            searched = space[name] if _has(space, name) else {}
            tuned = [argument for argument, domain in searched.items() if domain is not None]
            settled[name] = settle_arguments(
                name, node, given, tuned, defaults.get(name) or {}, problems
            )
    return settled


def _stored(plain: Mapping[str, Any], **settled: dict[str, Any]) -> dict[str, Any]:
    """What is kept with the study, as it was settled."""
    stored = {key: value for key, value in plain.items() if key not in RUNTIME}
    stored |= {key: node for key, node in settled.items() if node or key in stored}
    for key in ("data", "model"):
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
    """The setting that a key without its section means: `study.n_trials` for `n_trials`."""
    keys = {field.name: name for name, cls in _SECTIONS.items() for field in fields(cls)}
    close = [key] if key in keys else difflib.get_close_matches(key, keys, 1, 0.8)
    return f"{keys[close[0]]}.{close[0]}" if close else None


def _unknown_key(key: str) -> str:
    """An unknown key at the top; the likeliest mistake is a section that was left out."""
    if closest(key, TOP_LEVEL) or (meant := meant_key(key)) is None:
        return unknown(key, TOP_LEVEL)
    return f"{key!r} is unknown; did you mean {meant}?"


def _without_leftovers(node: dict[str, Any]) -> dict[str, Any]:
    """What the catalogue's choice has left beside the user's own function goes."""
    if node.get("_target_") is None:
        return node
    return {key: value for key, value in node.items() if key not in ("name", "fallback")}
