"""Parameters of components (schedulers, optimizers, models, ...): kind, default and bounds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from lrsearch.parameters.durations import Duration
from lrsearch.parameters.formula import Formula
from lrsearch.text.hints import as_given

Kind = Literal[
    "float", "int", "bool", "choice", "duration", "durations", "formula", "points", "betas", "pair",
    "text", "widths", "weights", "list", "texts", "mapping", "mappings", "any",
]  # fmt: skip


@dataclass(frozen=True)
class Parameter:
    """One named argument; numbers lie between `low` and `high`, both included.

    With `open_low`, `low` is excluded. null is valid if the default is None and the parameter is
    not `required`.
    """

    kind: Kind
    default: Any
    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False
    choices: tuple[str, ...] = ()
    help: str = ""
    required: bool = False
    """Whether it has no default and must be given."""

    def problem(self, value: Any) -> str | None:
        """Why a value is not valid, for a message; None if it is."""
        if value is None and self.default is None and not self.required:
            return None
        match self.kind:
            case "any":
                return None
            case "list":
                return None if _is_list_of(object, value) else f"{as_given(value)} is not a list"
            case "texts":
                return (
                    None if _is_list_of(str, value) else f"{as_given(value)} is not a list of texts"
                )
            case "mappings":
                if not _is_list_of(Mapping, value):
                    return f"{as_given(value)} is not a list of mappings: [{{key: value}}]"
                return None
            case "mapping":
                is_mapping = isinstance(value, Mapping)
                return None if is_mapping else f"{as_given(value)} is not a mapping: {{key: value}}"
            case "bool":
                return (
                    None if isinstance(value, bool) else f"{as_given(value)} is not true or false"
                )
            case "choice" | "text":
                if self.kind == "choice" and value not in self.choices:
                    return f"{as_given(value)} is not one of {', '.join(self.choices)}"
                return None if isinstance(value, str) else f"{as_given(value)} is not a word"
            case "int":
                if isinstance(value, bool) or not isinstance(value, int):
                    return f"{as_given(value)} is not a whole number"
                return self._out_of_bounds(value)
            case "float":
                if isinstance(value, bool) or not isinstance(value, (int, float)):
                    return f"{as_given(value)} is not a number"
                return self._out_of_bounds(value)
            case "widths":
                if not isinstance(value, (list, tuple)) or not all(map(_is_width, value)):
                    return f"{as_given(value)} is not a list of widths, such as [256, 128] or []"
                return None
            case "weights":
                if value != "balanced" and not (_is_list(value) and all(map(_is_weight, value))):
                    shown = as_given(value)
                    return f"{shown} is not `balanced` or a list of weights, such as [1, 2.5]"
                return None
            case "betas":
                if not _is_list(value, 2) or not all(_in_unit(beta) for beta in value):
                    return f"{as_given(value)} is not two numbers in [0, 1), such as [0.9, 0.999]"
                return None
            case "pair":
                return self._problem_in_pair(value)
        return _problem_in_time(self.kind, value)

    def _problem_in_pair(self, value: Any) -> str | None:
        """Two numbers within the bounds; null may stand where it stands in the default."""
        shown = ["null" if number is None else f"{number:g}" for number in self.default]
        if not _is_list(value, 2):
            return f"{as_given(value)} is not two numbers, such as [{', '.join(shown)}]"
        number = Parameter("float", None, self.low, self.high, self.open_low, required=True)
        problems = [
            number.problem(one)
            for one, default in zip(value, self.default, strict=True)
            if one is not None or default is not None
        ]
        return next((problem for problem in problems if problem), None)

    def admits_as(self, other: Parameter) -> bool:
        """Whether it takes the same values as another one."""
        facts = [(p.kind, p.low, p.high, p.open_low, p.choices) for p in (self, other)]
        return facts[0] == facts[1]

    def _out_of_bounds(self, value: float) -> str | None:
        if not math.isfinite(value):
            return f"{as_given(value)} is not a finite number"
        below = value <= self.low if self.open_low else value < self.low
        if below or value > self.high:
            low = f"above {self.low:g}" if self.open_low else f"at least {self.low:g}"
            bounds = [low] if self.low > -math.inf else []
            bounds += [f"at most {self.high:g}"] if self.high < math.inf else []
            return f"{as_given(value)} is out of range: it must be {' and '.join(bounds)}"
        return None


FREE = Parameter("any", None)
"""A parameter of the user's own code without known kind or default."""


def _problem_in_time(kind: Kind, value: Any) -> str | None:
    try:
        if kind == "duration":
            Duration.parse(value)
        elif kind == "durations":
            if not _is_list(value):
                shown = as_given(value)
                return f"{shown} is not a list of durations, such as [0.5, 0.75] or [30ep, 60ep]"
            for duration in value:
                Duration.parse(duration)
        elif kind == "formula":
            if isinstance(value, bool) or not isinstance(value, (str, int, float)):
                return f"{as_given(value)} is not a formula"
            Formula(str(value))
        else:
            return _problem_in_points(value)
    except ValueError as error:
        return str(error)
    return None


def _problem_in_points(value: Any) -> str | None:
    if not _is_list(value) or not all(_is_list(point, 2) for point in value):
        shown = as_given(value)
        return f"{shown} is not a list of [when, factor] points, such as [[0, 0.1], [0.3, 1]]"
    for when, factor in value:
        Duration.parse(when)
        is_number = isinstance(factor, (int, float)) and not isinstance(factor, bool)
        if not is_number or not 0 <= factor < math.inf:
            return f"{as_given(factor)} is not a factor of the peak rate: it must be 0 or more"
    return None


def _is_list(value: Any, length: int | None = None) -> bool:
    if not isinstance(value, (list, tuple)) or not value:
        return False
    return length is None or len(value) == length


def _is_list_of(kind: type, value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(item, kind) for item in value)


def _is_width(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_weight(value: Any) -> bool:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and 0 <= value < math.inf


def _in_unit(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1
