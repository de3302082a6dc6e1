"""Reads the domain of one parameter: a value, a list of values, or a range."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from lrsearch.parameters.parameter import Parameter
from lrsearch.space.domains import (
    AUTO,
    Auto,
    Choices,
    Domain,
    Fixed,
    FloatRange,
    IntRange,
    PowersOfTwo,
)
from lrsearch.text.hints import as_given, unknown

RANGE_KEYS = ("low", "high", "log", "step", "points", "type")
_DOMAIN_KEYS = ("value", "choices", *RANGE_KEYS)
_TYPES = ("float", "int", "power_of_two")
_LIST_KINDS = ("durations", "points", "betas", "pair", "list")


def parse_domain(path: str, node: Any, parameter: Parameter, problems: list[str]) -> Domain | None:
    """One domain; None (and no problem) for null, which takes the parameter away."""
    if isinstance(node, Mapping):
        node = {key: value for key, value in node.items() if value is not None}
        wrong = [key for key in node if key not in _DOMAIN_KEYS]
        problems.extend(f"{path}: {unknown(key, _DOMAIN_KEYS)}" for key in wrong)
        if wrong or not node:
            return None
        if "value" in node:
            domain: Domain | None = Fixed(node["value"])
        elif "choices" in node:
            domain = _parse_choices(path, node["choices"], problems)
        else:
            domain = _parse_range(path, node, parameter, problems)
    elif node is None:
        return None
    elif isinstance(node, str) and path.endswith(".lr") and ".scheduler." not in path:
        if node == AUTO:
            return Auto()
        problems.append(
            f"{path}: {as_given(node)} is not a number, a range such as "
            f"{{low: 1e-4, high: 1.0, log: true}}, or {AUTO}: a range test finds the range"
        )
        return None
    elif isinstance(node, list) and parameter.kind not in _LIST_KINDS:
        domain = _parse_choices(path, node, problems)
    else:
        domain = Fixed(node)
    if domain is None:
        return None
    for end in domain.ends():
        if problem := parameter.problem(end):
            problems.append(f"{path}: {problem}")
            return None
    return domain


def _parse_choices(path: str, values: Any, problems: list[str]) -> Domain | None:
    if not isinstance(values, list) or not values:
        problems.append(f"{path}.choices: {as_given(values)} is not a list of values")
        return None
    if len({repr(value) for value in values}) < len(values):
        problems.append(f"{path}.choices: {as_given(values)} has a value twice")
        return None
    return Choices(tuple(values)) if len(values) > 1 else Fixed(values[0])


def _parse_range(
    path: str, node: Mapping[str, Any], parameter: Parameter, problems: list[str]
) -> Domain | None:
    before = len(problems)
    kind = node.get("type") or _type_for(parameter, node)
    if kind is None:
        problems.append(f"{path}: a {parameter.kind} has no range: give `choices` or `value`")
        return None
    if kind not in _TYPES:
        problems.append(f"{path}.type: {unknown(kind, _TYPES)}")
        return None
    for key in ("low", "high", "step", "points"):
        whole = key == "points" or kind != "float"
        if key in node and not _is_number(node[key], whole):
            what = "a whole number" if whole else "a number"
            problems.append(f"{path}.{key}: {as_given(node[key])} is not {what}")
        elif key not in node and key in ("low", "high"):
            problems.append(f"{path}: {key} is missing: a range has `low` and `high`")
    log = node.get("log", False)
    if not isinstance(log, bool):
        problems.append(f"{path}.log: {as_given(log)} is not true or false")
    if len(problems) > before:
        return None
    problems.extend(f"{path}{problem}" for problem in _range_problems(node, kind))
    if len(problems) > before:
        return None
    low, high = node["low"], node["high"]
    if kind == "power_of_two":
        return PowersOfTwo(int(low), int(high))
    if kind == "int":
        return IntRange(int(low), int(high), log, int(node.get("step", 1)))
    return FloatRange(float(low), float(high), log, node.get("step"), node.get("points"))


def _range_problems(node: Mapping[str, Any], kind: str) -> list[str]:
    low, high = node["low"], node["high"]
    problems = []
    if low > high:
        problems.append(f": low {low!r} is above high {high!r}")
    if node.get("log") and low <= 0:
        problems.append(f".low: {low!r} is not above 0, as a log scale needs")
    if "step" in node and (node.get("log") or kind == "power_of_two"):
        problems.append(".step: a log scale has no step")
    if node.get("step", 1) <= 0:
        problems.append(f".step: {node['step']!r} is not above 0")
    if node.get("points", 1) < 1:
        problems.append(f".points: {node['points']!r} is not at least 1")
    if kind == "power_of_two":
        problems += [
            f".{key}: {value!r} is not a power of two; did you mean {_nearest_power(value)}?"
            for key, value in (("low", low), ("high", high))
            if value < 1 or int(value) & (int(value) - 1)
        ]
    return problems


def type_of_numbers(node: Mapping[str, Any]) -> str:
    """The type of a range of which nothing is known but its numbers."""
    return "int" if all(isinstance(node.get(key), int) for key in ("low", "high")) else "float"


def _type_for(parameter: Parameter, node: Mapping[str, Any]) -> str | None:
    if parameter.kind == "any":
        return type_of_numbers(node)
    return {"float": "float", "duration": "float", "int": "int"}.get(parameter.kind)


def _is_number(value: Any, whole: bool) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return math.isfinite(value) and (not whole or float(value).is_integer())


def _nearest_power(value: float) -> int:
    return 1 << max(0, round(math.log2(max(value, 1))))
