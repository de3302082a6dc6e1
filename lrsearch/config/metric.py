"""The mode of the metric that is optimised, and of the metrics that schedulers watch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lrsearch.measures import METRICS, mode_of
from lrsearch.schedules.families import SCHEDULERS
from lrsearch.settings import MetricSettings
from lrsearch.training.settings import TrainSettings

_MODES = ("min", "max")
_LOSSES = ("val_loss", "train_loss")


def metric_names(train: TrainSettings) -> list[str] | None:
    """The values that an evaluation can give; None where only the user's function knows them."""
    if train.evaluate is not None:
        return None
    if train.metrics is None:
        return [*_LOSSES, "val_accuracy"]
    return [*_LOSSES, *(f"val_{name}" for name in train.metrics)]


def known_mode(name: str, train: TrainSettings | None) -> str | None:
    """`min` for losses, the catalogue's mode for its metrics; None for other names."""
    target = ((train and train.metrics) or {}).get(name.removeprefix("val_"))
    if target is not None and not target.own and not name.endswith("loss"):
        return METRICS[target.name].mode
    return mode_of(name)


def settle_mode(
    node: dict[str, Any], train: TrainSettings | None, own_loop: bool, problems: list[str]
) -> None:
    """Write the mode that follows from the metric's name into the section, where none is given."""
    if node.get("mode") is not None:
        return
    name = str(node.get("name", MetricSettings.name))
    node["mode"] = known_mode(name, train) or "min"
    names = None if train is None else metric_names(train)
    is_metric = own_loop or (train is not None and (names is None or name in names))
    if is_metric and known_mode(name, train) is None:
        problems.append(
            f"metric.mode is missing: the name {name} does not say whether more of it is better: "
            f"give metric.mode=min or metric.mode=max"
        )


def settle_monitors(
    schedulers: Any, metric: Mapping[str, Any], train: TrainSettings | None
) -> list[str]:
    """Write the mode of each watched metric where its name alone does not say it, in place.

    With `train.evaluate` the optimised metric is watched where no other is named.

    `schedulers` is the node `space.scheduler`. Returns what is wrong: a mode that contradicts the
    metric, an unknown mode, two metrics of opposite modes under one mode.
    """
    problems: list[str] = []
    if not isinstance(schedulers, dict):
        return problems
    only = schedulers.get("only") or [*schedulers]
    for option in [only] if isinstance(only, str) else only:
        family = SCHEDULERS.get(str(option))
        if family is None or "monitor" not in family.parameters:
            continue
        node = schedulers.get(option) or {}
        if isinstance(node, dict):
            path = f"space.scheduler.{option}"
            default = family.parameters["monitor"].default
            if train is not None and train.evaluate is not None:
                # The user's function may return no `val_loss`.
                default = node.setdefault("monitor", metric.get("name", default))
            problems += _settle_monitor(path, node, default, metric, train)
            if node:
                schedulers[option] = node
    return problems


def _settle_monitor(
    path: str,
    node: dict[str, Any],
    default: str,
    metric: Mapping[str, Any],
    train: TrainSettings | None,
) -> list[str]:
    monitors, given = _values(node.get("monitor", default)), _values(node.get("mode", "auto"))
    # Another mode of the metric is refused as such; nothing follows from it.
    is_settled = metric["mode"] in _MODES
    modes = {
        name: metric["mode"] if name == metric.get("name") else known_mode(name, train)
        for name in map(str, monitors)
        if is_settled or name != metric.get("name")
    }
    if given != ["auto"]:
        return [
            f"{path}.mode: {mode} contradicts {path}.monitor: {name} is to "
            f"{'fall' if known == 'min' else 'rise'}; leave mode out"
            for name, known in modes.items()
            for mode in given
            if known is not None and mode in _MODES and mode != known
        ]
    known_modes = set(modes.values())
    if None in known_modes:
        names = ", ".join(name for name, mode in modes.items() if mode is None)
        return [
            f"{path}.mode is missing: the name {names} does not say whether more of it is better: "
            f"give {path}.mode=min or {path}.mode=max"
        ]
    if all(mode_of(name) == mode for name, mode in modes.items()):
        return []
    if len(known_modes) > 1:
        return [f"{path}.monitor: {', '.join(modes)} have opposite modes: watch one of them"]
    node["mode"] = known_modes.pop()
    return []


def _values(node: Any) -> list[Any]:
    """The values of a domain that is a value or a list of choices; none of a range."""
    if isinstance(node, Mapping):
        return list(node.get("choices") or ([node["value"]] if "value" in node else []))
    return [node]


def mode_warning(metric: MetricSettings, train: TrainSettings) -> str | None:
    """The warning about a mode that contradicts the metric's name; None where it fits."""
    known = known_mode(metric.name, train)
    if known in (None, metric.mode):
        return None
    return (
        f"metric.mode={metric.mode} searches for the worst {metric.name}: "
        f"leave it out, or give metric.mode={known}"
    )
