"""Whether a tuned argument of a model or of data is whole, by what it is declared for."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any

from lrsearch.data.sources import SOURCES
from lrsearch.data.spec import DataSpec
from lrsearch.models import MODELS
from lrsearch.space.names import OWNERS, ParameterName
from lrsearch.space.parse_domain import type_of_numbers
from lrsearch.targets import load_target
from lrsearch.training.settings import Target

_SILENT = frozenset({"Optional", "Union", "None", "typing", "t"})
"""Words of an annotation that say nothing of the kind of number."""


def settle_types(space: dict[str, Any], model: Target | None, data: DataSpec | None) -> list[str]:
    """Write `type` into the ranges of arguments where the numbers alone say something else.

    The type is, in this order: the `type:` given; the one of the catalogue, or the annotation or a
    float default of the user's function; the one of the numbers. Returns a note for each range
    that is of whole numbers for no other reason than its numbers.
    """
    notes = []
    ranges = [one for one in _ranges(space) if one[2].get("type") is None]
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


def _ranges(space: Mapping[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """Owner, argument and node of each range of an argument, nested or with a dotted name."""
    nodes = []
    for key, node in space.items():
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


def _types_of_model(model: Target | None) -> dict[str, str]:
    if model is None:
        return {}
    if model.own:
        return _types_of_own(model.name, "model")
    parameters = MODELS[model.name].arguments
    return {name: one.kind for name, one in parameters.items() if one.kind in ("int", "float")}


def _types_of_data(data: DataSpec | None) -> dict[str, str]:
    if data is None:
        return {}
    ours = {"crop": "int"}
    if data.target is not None:
        return ours | _types_of_own(data.target, "data")
    return ours | number_types(SOURCES[data.name].function)


def _types_of_own(dotted: str, what: str) -> dict[str, str]:
    """Empty where the user's code cannot be imported: that is reported when it is to be called."""
    try:
        return number_types(load_target(dotted, what))
    except Exception:  # noqa: BLE001 - the user's module can raise anything
        return {}


def number_types(function: Callable[..., Any]) -> dict[str, str]:
    """`int` or `float` for each argument of a function whose annotation or default says so.

    A whole default alone says nothing: many write `dropout=0`.
    """
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):  # of some functions in C it is not known
        return {}
    found: dict[str, str] = {}
    for name, parameter in parameters.items():
        kind = _annotated(parameter.annotation)
        if kind is None and parameter.annotation is parameter.empty:
            kind = "float" if type(parameter.default) is float else None
        if kind is not None:
            found[name] = kind
    return found


def _annotated(annotation: Any) -> str | None:
    """Of `int`, `float | None`, `Optional[float]` and the like, as text or as types."""
    text = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    words = set(re.findall(r"\w+", text)) - _SILENT
    if words == {"int"}:
        return "int"
    return "float" if words in ({"float"}, {"int", "float"}) else None
