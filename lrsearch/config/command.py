"""Checks of `objective.command`: a script of the user's as the objective."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lrsearch.errors import UserError
from lrsearch.objectives import COMMAND, is_command
from lrsearch.objectives.command_line import (
    ALWAYS,
    OF_TRIAL,
    Argument,
    CommandLine,
    Names,
    values_of,
)
from lrsearch.objectives.metrics_file import EPOCH, FILE
from lrsearch.registry import TARGET, ComponentConfig
from lrsearch.settings import MetricSettings
from lrsearch.space.domains import Domain
from lrsearch.space.space import Space
from lrsearch.text.hints import as_given

_WHERE = f"objective.{COMMAND}"


def named_command(node: Any) -> Any:
    """The node of an objective, with the name of the component where a command implies it."""
    if isinstance(node, Mapping) and COMMAND in node and node.get(TARGET) is None:
        return {"name": COMMAND, **node}
    return node


def check_command(
    objective: ComponentConfig,
    space: Space | None,
    metric: MetricSettings | None,
    problems: list[str],
) -> None:
    """Check the words of a script's command line, and its file of metrics.

    They are checked against the space and the metric, where these are known.
    """
    if not is_command(objective):
        return
    line = CommandLine.parse(objective.arguments[COMMAND], _WHERE, problems)
    names = None if space is None else placeholder_names(space)
    if names is not None:
        line.check(names, _WHERE, problems)
    metrics = objective.arguments.get("metrics")
    if metrics is not None:
        _check_metrics(metrics, names, metric, problems)


def _check_metrics(
    metrics: Any, names: Names | None, metric: MetricSettings | None, problems: list[str]
) -> None:
    where = "objective.metrics"
    if not isinstance(metrics, Mapping) or not isinstance(metrics.get(FILE), str):
        problems.append(
            f'{where}: {as_given(metrics)} is not a file and its columns, such as {{file: "{{'
            f'checkpoint_dir}}/metrics.csv", epoch: epoch, val_loss: eval_loss}}'
        )
        return
    try:
        argument = Argument.parse(metrics[FILE])
        if names is not None:
            CommandLine((argument,)).check(names, f"{where}.{FILE}", problems)
    except ValueError as error:
        problems.append(f"{where}.{FILE}: {as_given(metrics[FILE])}: {error}")
    columns = {name: column for name, column in metrics.items() if name != FILE}
    problems.extend(
        f"{where}.{name}: {as_given(column)} is not the name of a column"
        for name, column in columns.items()
        if not isinstance(column, str) or not column
    )
    if not columns.keys() - {EPOCH, "step", "lr"}:
        problems.append(
            f"{where}: no metric is read: give the column of one, such as val_loss: eval_loss"
        )
    elif metric is not None and metric.name not in columns:
        problems.append(
            f"{where}: the study's metric is not read: give the column of {metric.name}, or name "
            f"another metric by metric.name"
        )


def placeholder_names(space: Space) -> Names | None:
    """The names that the recipes of a space have values for.

    None where no recipe of it can be made, which other checks report.
    """
    possible: set[str] = {*OF_TRIAL}
    always: set[str] | None = None
    for optimizer in space.optimizer:
        for scheduler in space.scheduler:
            for empty in (True, False):

                def choose(
                    name: str,
                    domain: Domain,
                    branches: tuple[str, str] = (optimizer, scheduler),
                    empty: bool = empty,
                ) -> Any:
                    if name in ("optimizer", "scheduler"):
                        return branches[name == "scheduler"]
                    ends = domain.ends()
                    missing = [value for value in ends if value is None]
                    given = [value for value in ends if value is not None]
                    return [*missing, *given][0] if empty else [*given, *missing][0]

                try:
                    values = values_of(space.recipe(choose))
                except (UserError, ValueError):
                    return None
                there = {name for name, value in values.items() if value is not None}
                possible |= {*values}
                always = there if always is None else always & there
    return Names(possible, {*ALWAYS, *(always or ())})
