"""Whether more or less of a metric is better, where its name says so."""

from __future__ import annotations

from typing import Any

from lrsearch.config.settings import MetricSettings
from lrsearch.training.losses import BETTER
from lrsearch.training.settings import TrainSettings

_LOSSES = ("val_loss", "train_loss")


def metric_names(train: TrainSettings) -> list[str]:
    """The values that an evaluation can give."""
    if train.metrics is None:
        return [*_LOSSES, "val_accuracy"]
    return [*_LOSSES, *(f"val_{name}" for name in train.metrics)]


def known_mode(name: str, train: TrainSettings | None) -> str | None:
    """`min` for losses, the catalogue's for its metrics; None where nothing says it."""
    if name.endswith("loss"):
        return "min"
    measured = name.removeprefix("val_")
    target = ((train and train.metrics) or {}).get(measured)
    if target is not None and not target.own:
        return BETTER[target.name]
    return next((mode for known, mode in BETTER.items() if measured.endswith(known)), None)


def settle_mode(
    node: dict[str, Any], train: TrainSettings | None, own_loop: bool, problems: list[str]
) -> None:
    """Writes the mode that follows from the name into the section, where none is given."""
    if node.get("mode") is not None:
        return
    name = str(node.get("name", MetricSettings.name))
    node["mode"] = known_mode(name, train) or "min"
    asked = own_loop or (train is not None and name in metric_names(train))
    if asked and known_mode(name, train) is None:
        problems.append(
            f"metric.mode is missing: the name {name} does not say whether more of it is better: "
            f"give metric.mode=min or metric.mode=max"
        )


def mode_warning(metric: MetricSettings, train: TrainSettings) -> str | None:
    """What to say of a mode that was given against the metric's name."""
    known = known_mode(metric.name, train)
    if known in (None, metric.mode):
        return None
    return (
        f"metric.mode={metric.mode} searches for the worst {metric.name}: "
        f"leave it out, or give metric.mode={known}"
    )
