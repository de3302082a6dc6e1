"""Source text of lrsearch's own functions and classes, without importing them (and torch)."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path


def source_of(dotted: str, with_helpers: bool = False) -> str:
    """The source of a function or class by its dotted path, as it stands in its file.

    `with_helpers` adds, before it, the module's other functions. An error of lrsearch's becomes a
    ValueError, so that the text stands alone.
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
    return "\n\n\n".join(source for _, source in found).replace("UserError(", "ValueError(")
