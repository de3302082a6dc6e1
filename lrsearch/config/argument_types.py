"""The number type, `int` or `float`, of searched arguments of a model or of data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lrsearch.data.sources import SOURCES
from lrsearch.data.spec import DataSpec
from lrsearch.models import MODELS
from lrsearch.own_code import load_target
from lrsearch.parameters.parameter import Parameter
from lrsearch.registry import ComponentConfig, parameters_of
from lrsearch.space.names import OWNERS, ParameterName
from lrsearch.space.parse_domain import type_of_numbers


def settle_types(
    arguments: Mapping[str, Any], model: ComponentConfig | None, data: DataSpec | None
) -> list[str]:
    """Write `type` into the ranges of arguments where the numbers alone say something else.

    `arguments` are what a space has of the model and the data, as in the configuration.

    The type is, in this order: the `type:` given; the one of the catalogue, or the annotation or a
    float default of the user's function; the one of the numbers. Returns a note for each range
    that is of whole numbers for no other reason than its numbers.
    """
    notes = []
    ranges = [entry for entry in _ranges(arguments) if entry[2].get("type") is None]
    owners = {owner for owner, _, _ in ranges}
    declared = {
        "model": _types_of_model(model) if "model" in owners else {},
        "data": _types_of_data(data) if "data" in owners else {},
    }
    for owner, argument, node in ranges:
        numbers, wanted = type_of_numbers(node), declared[owner].get(argument)
        if wanted not in (None, numbers):
            node["type"] = wanted
        elif wanted is None and numbers == "int":
            notes.append(
                f"space.{owner}.{argument}: whole numbers from {node['low']} to {node['high']}, as "
                f"nothing declares another type; with type: float it has fractions"
            )
    return notes


def _ranges(arguments: Mapping[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """Owner, argument and node of each range of an argument, nested or with a dotted name."""
    nodes = []
    for key, node in arguments.items():
        name = ParameterName.parse(str(key))
        if name.owner in OWNERS:
            nodes.append((name, node))
        elif key in OWNERS and isinstance(node, dict):
            nodes += [(ParameterName(str(inner), key), one) for inner, one in node.items()]
    return [
        (name.owner, name.argument, node)
        for name, node in nodes
        if isinstance(node, dict)
        and {"low", "high"} <= node.keys()
        and node.get("value") is None
        and node.get("choices") is None
    ]


def _types_of_model(model: ComponentConfig | None) -> dict[str, str]:
    if model is None:
        return {}
    if model.target is not None:
        return _types_of_own(model.target, "model")
    return _number_types(MODELS[model.name].parameters)


def _types_of_data(data: DataSpec | None) -> dict[str, str]:
    if data is None:
        return {}
    ours = {"crop": "int"}
    if data.target is not None:
        return ours | _types_of_own(data.target, "data")
    return ours | _number_types(SOURCES[data.name].parameters)


def _types_of_own(dotted: str, what: str) -> dict[str, str]:
    """The declared types; none where the user's code cannot be imported, which others report."""
    try:
        return _number_types(parameters_of(load_target(dotted, what)))
    except Exception:  # noqa: BLE001 - the user's module can raise anything
        return {}


def _number_types(parameters: Mapping[str, Parameter]) -> dict[str, str]:
    return {
        name: known.kind for name, known in parameters.items() if known.kind in ("int", "float")
    }
