"""All registries by noun, and their tables for the documentation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lrsearch.data.sources import SOURCES
from lrsearch.launchers import LAUNCHERS
from lrsearch.loggers import LOGGERS
from lrsearch.measures import LOSSES, METRICS
from lrsearch.models import MODELS
from lrsearch.objectives import OBJECTIVES
from lrsearch.optimizers import OPTIMIZERS
from lrsearch.parameters.parameter import Parameter
from lrsearch.registry import Registry
from lrsearch.schedules.families import SCHEDULERS
from lrsearch.text.hints import as_given
from lrsearch.tuning.pruners import PRUNERS
from lrsearch.tuning.samplers import SAMPLERS

REGISTRIES: Mapping[str, Registry[Any]] = {
    registry.noun: registry
    for registry in (
        OPTIMIZERS, SCHEDULERS, MODELS, SOURCES, LOSSES, METRICS, OBJECTIVES, SAMPLERS, PRUNERS,
        LOGGERS, LAUNCHERS,
    )
}  # fmt: skip
"""All registries by their noun, such as "optimizer"."""


def markdown() -> str:
    """Markdown with a table for each registry: components, their parameters and defaults, help."""
    tables = []
    for registry in REGISTRIES.values():
        lines = [f"| `{registry.where}` | parameters and defaults | what it is |", "|---|---|---|"]
        for component in registry.values():
            parameters = "; ".join(
                f"`{name}` ({_default(parameter)}): {parameter.help}{_choices(parameter)}"
                for name, parameter in component.parameters.items()
            )
            cells = (f"`{component.name}`", parameters or "–", component.help)
            lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
        tables.append(f"## {registry.noun.capitalize()}\n\n" + "\n".join(lines))
    return "\n\n".join(tables)


def _choices(parameter: Parameter) -> str:
    return f" ({' or '.join(parameter.choices)})" if parameter.choices else ""


def _default(parameter: Parameter) -> str:
    value = parameter.default
    return value if isinstance(value, str) and value else as_given(value)
