"""Python source text: of values, of calls, and of lrsearch's own functions."""

from __future__ import annotations

import ast
import importlib.util
import keyword
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lrsearch.schedules.plan import StepFunction


class SourceText(str):
    """Python source that may stand in a script; only this class writes values into one."""

    __slots__ = ()


@dataclass(frozen=True)
class CallText:
    """A function or class under the name that it has in the script, and its named arguments."""

    function: SourceText
    arguments: Mapping[str, Any] = field(default_factory=dict)


def literal(value: Any) -> SourceText:
    """Return the Python literal of a value of a configuration, whatever text it holds."""
    match value:
        case SourceText():
            return value
        case StepFunction():
            text = f"lambda step: {value.source}"
        case bool() | int() | str() | None:
            text = repr(value)
        case float():
            text = repr(value) if math.isfinite(value) else f'float("{value}")'
        case list():
            text = f"[{', '.join(map(literal, value))}]"
        case tuple():
            text = f"({', '.join(map(literal, value))}{',' if len(value) == 1 else ''})"
        case Mapping():
            text = f"{{{', '.join(f'{literal(k)}: {literal(v)}' for k, v in value.items())}}}"
        case _:
            raise TypeError(f"{type(value).__name__} is not of a configuration")
    return SourceText(text)


def call_text(call: CallText, *positional: str) -> SourceText:
    """Return a call with its arguments by name, after positional ones given as source.

    Arguments whose names Python does not allow in a call stand in `**{...}`.
    """
    named = {key: value for key, value in call.arguments.items() if is_name(key)}
    others = {key: value for key, value in call.arguments.items() if key not in named}
    words = [*positional, *(f"{name}={literal(value)}" for name, value in named.items())]
    words += [f"**{literal(others)}"] if others else []
    return SourceText(f"{call.function}({', '.join(words)})")


def docstring(lines: Sequence[str]) -> SourceText:
    """Return lines as a docstring, whatever text they hold."""
    text = "\n".join(lines).replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
    shown = "".join(one if one.isprintable() or one == "\n" else repr(one)[1:-1] for one in text)
    end = "\n" if len(lines) > 1 or shown.endswith('"') else ""
    return SourceText(f'"""{shown}{end}"""')


def source_of(dotted: str, with_helpers: bool = False) -> SourceText:
    """Return the source of a function or class of lrsearch, without importing it (and torch).

    `with_helpers` adds, before it, the module's other functions. A UserError becomes a ValueError,
    so that the text needs nothing of lrsearch.
    """
    module, _, name = dotted.rpartition(".")
    spec = importlib.util.find_spec(module)
    assert spec is not None, f"{module} is a module of lrsearch"
    assert spec.origin is not None, f"{module} has a file"
    text = Path(spec.origin).read_text()
    found = []
    for node in ast.parse(text).body:
        if not isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            continue
        if node.name == name or (with_helpers and isinstance(node, ast.FunctionDef)):
            found.append((node.name == name, ast.get_source_segment(text, node) or ""))
    found.sort(key=lambda item: item[0])
    joined = "\n\n\n".join(source for _, source in found)
    return SourceText(joined.replace("UserError(", "ValueError("))


def is_name(text: Any) -> bool:
    """Whether Python takes a text as a name."""
    return isinstance(text, str) and text.isidentifier() and not keyword.iskeyword(text)
