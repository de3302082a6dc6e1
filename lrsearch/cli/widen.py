"""The command line that repeats a stored study with a wider space."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from lrsearch.analysis.edges import Edges
from lrsearch.analysis.parameters import searched_parameters, settings_of
from lrsearch.analysis.study_data import StudyData
from lrsearch.cli.compose import load_settings
from lrsearch.cli.grammar import written
from lrsearch.config.storage import command_on
from lrsearch.errors import UserError
from lrsearch.space.domains import AUTO, Fixed
from lrsearch.study.study import differences, flat

_GROUPS = ("data", "model", "sampler", "pruner")
# What belongs to the machine or to the study itself, not to what is searched.
_LEFT_OUT = frozenset({"sweep", "description", "study.name", "study.try_first", "data.root",
                       "data.cache"})  # fmt: skip


def widening_command(study: StudyData, edges: Edges, url: str) -> str | None:
    """Write the command of a new study with wider ranges that tries the best recipe first.

    `url` is that of its database. The command is checked: None where no range is to
    be widened, or where no command line makes the same configuration (such as that of a sweep in
    another folder).
    """
    if not edges.overrides:
        return None
    try:
        same = _same_setup(study.config)
        if same is None:
            return None
        first = _try_first(study)
        arguments = [*same, *edges.overrides, f"study.try_first=[{written(first)}]"]
        wider = load_settings(arguments)
    except UserError:
        return None
    changed = {line.partition(":")[0] for line in differences(study.config, wider.plain)}
    meant = {override.partition("=")[0] for override in edges.overrides}
    if changed - {"study.try_first"} != meant:
        return None
    return command_on(url, *arguments, f"study.name={study.name}-wider")


def _same_setup(config: Mapping[str, Any]) -> list[str] | None:
    """The overrides that make this configuration; None if none do. Raises UserError."""
    arguments = [f"+sweep={config['sweep']}"]
    base = load_settings(arguments).plain
    for group in _GROUPS:
        name = config[group].get("name")
        if name is None or base[group].get("name") == name:
            continue
        try:
            base = load_settings([*arguments, f"{group}={name}"]).plain
        except UserError:
            continue  # not of the catalogue under that name: its keys follow one by one
        arguments.append(f"{group}={name}")
    stored, there = flat(config), flat(base)
    changes = [f"{key}={written(value)}" for key, value in _ranges_found(stored, there).items()]
    changes += [
        f"{key}={written(value)}"
        for key, value in stored.items()
        if key not in _LEFT_OUT
        and there.get(key, math.nan) != value
        and there.get(key.rpartition(".")[0]) != AUTO
    ]
    arguments += changes
    made = flat(load_settings(arguments).plain) if changes else there
    if surplus := [f"~{key}" for key in made if key not in stored and key not in _LEFT_OUT]:
        arguments += surplus
        made = flat(load_settings(arguments).plain)
    keys = (stored.keys() | made.keys()) - _LEFT_OUT
    wrong = [key for key in keys if stored.get(key, math.nan) != made.get(key, math.nan)]
    return None if wrong else arguments


def _ranges_found(stored: Mapping[str, Any], there: Mapping[str, Any]) -> dict[str, Any]:
    """The whole ranges that the study has where the sweep has `auto`."""
    found: dict[str, dict[str, Any]] = {}
    for key, value in stored.items():
        owner, _, name = key.rpartition(".")
        if there.get(owner) == AUTO:
            found.setdefault(owner, {})[name] = value
    return found


def _try_first(study: StudyData) -> dict[str, Any]:
    """The best recipe as a setting of `study.try_first`."""
    best = study.ranked[0].recipe
    assert best is not None, "an edge is of the best recipe"
    parameters = searched_parameters(settings_of(study).space, best)
    return {
        parameter.name: parameter.value
        for parameter in parameters
        if not isinstance(parameter.domain, Fixed)
    }
