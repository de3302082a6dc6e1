"""From plain mappings to `Settings`, with every problem collected and named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from lrsearch.config.checks import check_metric, check_plan, check_tuned
from lrsearch.config.metric import settle_mode
from lrsearch.config.sections import mapping, own_target, section, target
from lrsearch.config.settings import (
    ConfirmSettings,
    MetricSettings,
    QueueSettings,
    Settings,
    StudySettings,
)
from lrsearch.config.storage import storage_url
from lrsearch.data.sources import FALLBACKS, SOURCES, source_arguments
from lrsearch.data.spec import DataSpec
from lrsearch.errors import ConfigErrors, UserError
from lrsearch.hints import unknown
from lrsearch.loggers.catalogue import LOGGERS
from lrsearch.models import MODELS
from lrsearch.parameters import Parameter
from lrsearch.pruning.catalogue import PRUNERS, build_pruner
from lrsearch.samplers import SAMPLERS
from lrsearch.schedules.durations import Duration
from lrsearch.space.parse import parse_space, settle_kinds
from lrsearch.space.space import Coupling
from lrsearch.training.losses import LOSSES, METRICS
from lrsearch.training.settings import Target, TrainSettings

TOP_LEVEL = (
    "sweep", "description", "study", "metric", "train", "data", "model", "objective", "space",
    "coupling", "sampler", "pruner", "logger", "queue", "confirm", "storage", "workers",
    "output_dir", "dry_run",
)  # fmt: skip
RUNTIME: dict[str, Any] = {
    "storage": {"url": "sqlite://"},
    "workers": 1,
    "output_dir": "outputs",
    "dry_run": False,
}
"""What is not stored with a study, with values that stand in for it."""


def settings_from(
    plain: Mapping[str, Any], space_layers: Sequence[Mapping[str, Any]] = ()
) -> Settings:
    """The settings of a composed configuration.

    `space_layers` are the `space` mappings it was merged from, the first one first. Raises
    ConfigErrors with a line for each problem: the key, the bad value and the valid ones.
    """
    problems = [_unknown_key(key) for key in plain if key not in TOP_LEVEL]
    nodes = {key: plain.get(key) for key in TOP_LEVEL}
    space_node = mapping("space", nodes["space"], problems)
    settle_kinds(space_node, space_layers)
    study_node = mapping("study", nodes["study"], problems)
    study_node["name"] = _study_name(study_node.get("name"), nodes["sweep"], problems)
    if study_node.get("balance") == ["families"]:
        study_node["balance"] = "families"
    if isinstance(word := study_node.get("balance"), str) and word != "families":
        problems.append(f"study.balance: {unknown(word, ('families', '[optimizer, scheduler]'))}")
        study_node["balance"] = ()
    study = section("study", study_node, StudySettings, problems)
    train = _train(mapping("train", nodes["train"], problems), problems)
    coupling = section("coupling", nodes["coupling"], Coupling, problems)
    objective = own_target("objective", nodes["objective"], problems)
    metric_node = mapping("metric", nodes["metric"], problems)
    settle_mode(metric_node, train, objective is not None, problems)
    metric = section("metric", metric_node, MetricSettings, problems)
    model = _model(mapping("model", nodes["model"], problems), problems)
    data = _data(mapping("data", nodes["data"], problems), problems)
    catalogue = {name: kind.parameters for name, kind in SAMPLERS.items()}
    sampler = _listed("sampler", nodes["sampler"], catalogue, problems)
    pruner = _pruner(nodes["pruner"], problems)
    logger = _logger(nodes["logger"] or {"name": "none"}, problems)
    space = parse_space(space_node, coupling or Coupling(), problems)
    queue = section("queue", nodes["queue"], QueueSettings, problems)
    confirm = None
    if not isinstance(nodes["confirm"], Mapping | None):
        said = (
            f"confirm: {nodes['confirm']!r} is not a mapping: write confirm.top=3 or confirm=null"
        )
        problems.append(said)
    elif nodes["confirm"] is not None:
        confirm = section("confirm", nodes["confirm"], ConfirmSettings, problems)
    storage = mapping("storage", nodes["storage"], problems)
    url = storage_url(storage, problems)
    workers = _workers(nodes["workers"], problems)
    if not isinstance(nodes["dry_run"], bool):
        problems.append(f"dry_run: {nodes['dry_run']!r} is not true or false")
    if space and space.to_find and objective is not None:
        problems.append(
            f"space ({', '.join(space.to_find)}): `auto` takes a range test, for which lrsearch "
            f"trains by itself; for your own objective give a range, such as "
            f"{{low: 1e-4, high: 1.0, log: true}}"
        )
    if metric and train and space and objective is None:
        check_metric(metric, train, space, problems)
    if study and space and sampler:
        check_plan(study, space, sampler, problems)
    if space and data and model and objective is None:
        check_tuned(space, data, model, problems)
    if problems:
        raise ConfigErrors(problems)
    # A section that is missing has left a problem.
    assert study and metric and train and data and model and space and queue  # noqa: PT018
    assert sampler and pruner and logger  # noqa: PT018
    stored = {key: value for key, value in plain.items() if key not in RUNTIME}
    stored |= {"space": space_node, "study": study_node, "metric": metric_node}
    for key in ("data", "model"):
        stored[key] = _without_leftovers(dict(nodes[key] or {}))
    return Settings(
        sweep=str(nodes["sweep"]),
        description=str(nodes["description"] or ""),
        study=study,
        metric=metric,
        train=train,
        data=data,
        model=model,
        objective=objective,
        space=space,
        sampler=sampler,
        pruner=pruner,
        logger=logger,
        queue=queue,
        confirm=confirm,
        storage_url=url,
        checkpoints_url=storage.get("checkpoints"),
        workers=workers,
        output_dir=str(nodes["output_dir"]),
        dry_run=bool(nodes["dry_run"]),
        plain=stored,
    )


def _unknown_key(key: str) -> str:
    """An unknown key at the top; the likeliest mistake is a section that was left out."""
    sections = {
        "study": StudySettings,
        "metric": MetricSettings,
        "queue": QueueSettings,
        "train": TrainSettings,
        "coupling": Coupling,
        "confirm": ConfirmSettings,
    }
    for name, cls in sections.items():
        if key in {field.name for field in fields(cls)}:
            return f"{key!r} is unknown; did you mean {name}.{key}?"
    return unknown(key, TOP_LEVEL)


def _without_leftovers(node: dict[str, Any]) -> dict[str, Any]:
    """What the catalogue's choice has left beside the user's own function goes."""
    if node.get("_target_") is None:
        return node
    return {key: value for key, value in node.items() if key not in ("name", "fallback")}


def _study_name(given: Any, sweep: Any, problems: list[str]) -> str:
    name = f"{sweep if given is None else given}"
    # It names a folder of outputs, too.
    if (
        not name.strip()
        or name in (".", "..")
        or any(c in name for c in "/\\\0")
        or len(name) > 200
    ):
        problems.append(
            f"study.name: {name!r} is not a name: letters, digits and -_. without slashes"
        )
    return name


def _train(node: dict[str, Any], problems: list[str]) -> TrainSettings | None:
    before = len(problems)
    if node.get("loss") is not None:
        node["loss"] = target("train.loss", node["loss"], LOSSES, problems)
    if node.get("metrics") is not None:
        metrics = node["metrics"]
        if isinstance(metrics, list):
            metrics = {name: name for name in metrics}
        node["metrics"] = {
            name: target(f"train.metrics.{name}", value or name, METRICS, problems)
            for name, value in mapping("train.metrics", metrics, problems).items()
        }
    if len(problems) > before:
        node.pop("loss", None)
        node.pop("metrics", None)
    if (every := node.get("eval_every")) is not None:
        problem = Parameter("duration", None).problem(every)
        if problem or Duration.parse(every).amount <= 0:
            problems.append(f"train.eval_every: {problem or f'{every!r} is not above 0'}")
    if not _is_device(str(node.get("device"))):
        devices = ("auto", "cpu", "cuda", "mps", "cuda:0")
        problems.append(f"train.device: {unknown(node.get('device'), devices)}")
    train = section("train", node, TrainSettings, problems)
    return train if len(problems) == before else None


def _is_device(device: str) -> bool:
    kind, _, index = device.partition(":")
    return kind in ("auto", "cpu", "cuda", "mps") and (not index or index.isdigit())


def _model(node: dict[str, Any], problems: list[str]) -> Target | None:
    if node.get("_target_") is not None:
        node.pop("name", None)
        return own_target("model", node, problems)
    model = target("model", node, MODELS, problems)
    if model is not None:
        valid = MODELS[model.name].arguments
        wrong = [key for key in model.arguments if key not in valid]
        problems.extend(f"model.{key}: {unknown(key, ['name', *valid])}" for key in wrong)
    return model


_DATA_KEYS = frozenset(field.name for field in fields(DataSpec)) - {"target", "arguments"}


def _data(node: dict[str, Any], problems: list[str]) -> DataSpec | None:
    before = len(problems)
    dotted = node.pop("_target_", None)
    own = {key: node.pop(key) for key in [*node] if key not in _DATA_KEYS}
    if dotted is not None:
        own_target("data", {"_target_": dotted}, problems)
        node["name"], node["fallback"] = str(dotted), None
    elif node.get("name") not in SOURCES:
        problems.append(f"data: {unknown(node.get('name'), [*SOURCES, '_target_: mypkg.load'])}")
    if node.get("fallback") is not None and node["fallback"] not in FALLBACKS:
        problems.append(f"data.fallback: {unknown(node['fallback'], [*FALLBACKS, 'null'])}")
    if dotted is None and node.get("name") in SOURCES:
        allowed = source_arguments(SOURCES[node["name"]])
        problems.extend(
            f"data.{key}: {unknown(key, [*_DATA_KEYS, *allowed])}"
            for key in own
            if key not in allowed
        )
    for key in ("root", "cache"):
        node[key] = Path(str(node.get(key))).expanduser()
    if len(problems) > before:
        return None
    known = {**node, "target": dotted, "arguments": own}
    return section("data", known, DataSpec, problems)


def _listed(
    path: str,
    node: Any,
    catalogue: Mapping[str, Mapping[str, Parameter]],
    problems: list[str],
) -> Target | None:
    """A sampler, a pruner or a logger, with its arguments checked."""
    before = len(problems)
    arguments = mapping(path, node, problems)
    name = arguments.pop("name", None)
    if name not in catalogue:
        problems.append(f"{path}: {unknown(name, catalogue)}")
        return None
    for key, value in arguments.items():
        if key not in catalogue[name]:
            problems.append(f"{path}.{key}: {unknown(key, catalogue[name])}")
        elif problem := catalogue[name][key].problem(value):
            problems.append(f"{path}.{key}: {problem}")
    return Target(name, arguments) if len(problems) == before else None


def _pruner(node: Any, problems: list[str]) -> Target | None:
    catalogue = {name: kind.parameters for name, kind in PRUNERS.items()}
    pruner = _listed("pruner", node, catalogue, problems)
    if pruner is not None:
        try:
            build_pruner(pruner.name, pruner.arguments, evaluations=1, mode="min")
        except UserError as error:  # arguments that are fine one by one, but not together
            problems.append(str(error))
            return None
    return pruner


def _logger(node: Any, problems: list[str]) -> Target | None:
    catalogue = {name: kind.parameters if kind else {} for name, kind in LOGGERS.items()}
    return _listed("logger", node, catalogue, problems)


def _workers(value: Any, problems: list[str]) -> Any:
    whole = isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 4096
    if value != "auto" and not whole:
        problems.append(f"workers: {value!r} is not `auto` or a number from 1")
    return value
