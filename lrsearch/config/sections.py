"""Read single sections of a configuration into dataclasses, collecting problems in words."""

from __future__ import annotations

import difflib
import functools
import re
import typing
from collections.abc import Mapping
from dataclasses import fields
from types import NoneType
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from lrsearch.text.hints import as_given, unknown

T = TypeVar("T")


def section(path: str, node: Any, cls: type[T], problems: list[str]) -> T | None:
    """Read a flat section into its dataclass.

    Where it has problems, the defaults stand for the bad values, so that the good ones can still be
    checked against the rest; None where there is no default.
    """
    node = mapping(path, node, problems)
    names = [field.name for field in fields(cls)]  # type: ignore[arg-type]
    wrong = [f"{key_of(path, key)}: {unknown(key, names)}" for key in node if key not in names]
    numbers = _numbers(typing.cast(Any, cls))
    others = {k for k, value in node.items() if isinstance(value, bool | str) and k in numbers}
    wrong += [
        f"{key_of(path, key)}: {as_given(node[key])} is not a number" for key in sorted(others)
    ]
    problems.extend(wrong)
    good = {k: v for k, v in node.items() if k in names and k not in others}
    adapter = _adapter(typing.cast(Any, cls))
    try:
        return typing.cast(T, adapter.validate_python(good))
    except ValidationError as error:
        problems.extend(_in_words(path, detail) for detail in error.errors())
        bad = {detail["loc"][0] for detail in error.errors()}
    try:
        return typing.cast(T, adapter.validate_python({k: good[k] for k in good if k not in bad}))
    except ValidationError:
        return None


def key_of(path: str, *names: str) -> str:
    """The dotted key of a section's value; the path of a section may be empty."""
    return ".".join([path, *names] if path else names)


@functools.cache
def _adapter(cls: Any) -> TypeAdapter[Any]:
    return TypeAdapter(cls)


@functools.cache
def _numbers(cls: Any) -> set[str]:
    """The fields that hold numbers only, for which Pydantic would take true or '1'."""
    hints = typing.get_type_hints(cls)
    kinds = {name: set(typing.get_args(hint) or [hint]) for name, hint in hints.items()}
    return {
        name for name, of in kinds.items() if of & {int, float} and of <= {int, float, NoneType}
    }


def _in_words(path: str, detail: ErrorDetails) -> str:
    key = key_of(path, *(str(part) for part in detail["loc"] if not _is_branch(part)))
    if detail["type"] == "missing":
        return f"{key} is missing"
    if detail["type"] in ("bool_parsing", "bool_type"):
        return f"{key}: {as_given(detail['input'])} is not true or false"
    if detail["type"] in ("int_from_float", "int_parsing", "int_type"):
        return f"{key}: {as_given(detail['input'])} is not a whole number"
    said = str(detail["msg"]).replace("Input should be", "it should be")
    value = detail["input"]
    expected = str(detail.get("ctx", {}).get("expected", ""))
    close = difflib.get_close_matches(str(value), re.findall(r"'([^']+)'", expected), 1)
    hint = f"; did you mean {close[0]}?" if close else ""
    return f"{key}: {as_given(value)} is not valid: {said}{hint}"


def _is_branch(part: int | str) -> bool:
    """Whether a part of an error's location is a branch of a union rather than a key."""
    return isinstance(part, str) and ("[" in part or part in ("int", "float", "str"))


def mapping(path: str, node: Any, problems: list[str]) -> dict[str, Any]:
    if node is None:
        return {}
    if not isinstance(node, Mapping):
        problems.append(f"{path}: {as_given(node)} is not a mapping")
        return {}
    return dict(node)
