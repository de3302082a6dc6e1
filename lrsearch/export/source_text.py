"""Python source of values, calls, and lrsearch's own functions."""

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
    """Python source that a template may write into a script; plain text is refused there."""

    __slots__ = ()


@dataclass(frozen=True)
class CallText:
    """A call in the script: the function or class by its name there, and its named arguments."""

    function: SourceText
    arguments: Mapping[str, Any] = field(default_factory=dict)


def literal(value: Any) -> SourceText:
    """Return the Python literal of a value of a configuration.

    Raises TypeError for a value that a configuration cannot have.
    """
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
            raise TypeError(f"a configuration has no values of the type {type(value).__name__}")
    return SourceText(text)


def call_text(call: CallText, *positional: str) -> SourceText:
    """Return the source of a call; `positional` arguments are source and come first.

    Arguments whose names are not valid in a call are passed in `**{...}`.
    """
    named = {key: value for key, value in call.arguments.items() if is_name(key)}
    others = {key: value for key, value in call.arguments.items() if key not in named}
    words = [*positional, *(f"{name}={literal(value)}" for name, value in named.items())]
    words += [f"**{literal(others)}"] if others else []
    return SourceText(f"{call.function}({', '.join(words)})")


def docstring(lines: Sequence[str]) -> SourceText:
    """Return lines as the source of a docstring, with everything escaped that could end it."""
    text = "\n".join(lines).replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
    shown = "".join(
        character if character.isprintable() or character == "\n" else repr(character)[1:-1]
        for character in text
    )
    end = "\n" if len(lines) > 1 or shown.endswith('"') else ""
    return SourceText(f'"""{shown}{end}"""')


def source_of(dotted: str, with_helpers: bool = False) -> SourceText:
    """Return the source of a function or class of lrsearch, without importing its module or torch.

    `with_helpers` puts the other functions of the module before it. UserError is replaced by
    ValueError, so that the source uses nothing of lrsearch.
    """
    module, _, name = dotted.rpartition(".")
    spec = importlib.util.find_spec(module)
    assert spec is not None, f"{module} is a module of lrsearch"
    assert spec.origin is not None, f"{module} has a file"
    text = Path(spec.origin).read_text()
    sources = []
    for node in ast.parse(text).body:
        if not isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            continue
        if node.name == name or (with_helpers and isinstance(node, ast.FunctionDef)):
            sources.append((node.name == name, ast.get_source_segment(text, node) or ""))
    sources.sort(key=lambda item: item[0])
    joined = "\n\n\n".join(source for _, source in sources)
    return SourceText(joined.replace("UserError(", "ValueError("))


def is_name(text: Any) -> bool:
    """Whether a value is a text that is a valid name in Python."""
    return isinstance(text, str) and text.isidentifier() and not keyword.iskeyword(text)
