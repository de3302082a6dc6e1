"""The names that a script imports, and those that it defines itself."""

from __future__ import annotations

import builtins
import symtable
from collections.abc import Iterator

from lrsearch.export.source_text import SourceText, is_name

_STANDARD = {
    **{
        name: f"import {name}"
        for name in (
            "contextlib", "functools", "hashlib", "inspect", "math", "random", "re", "sys",
            "tempfile",
        )
    },
    "Any": "from typing import Any",
    "Callable": "from collections.abc import Callable",
    "GroupRule": "from types import SimpleNamespace as GroupRule",
    "HTTPException": "from http.client import HTTPException",
    "Iterable": "from collections.abc import Iterable",
    "Iterator": "from collections.abc import Iterator",
    "Sequence": "from collections.abc import Sequence",
    "UnpicklingError": "from pickle import UnpicklingError",
    "pairwise": "from itertools import pairwise",
    "Path": "from pathlib import Path",
    **{
        name: f"from math import {name}"
        for name in ("ceil", "cos", "e", "exp", "floor", "log", "pi", "sin", "sqrt")
    },
}  # fmt: skip
_INSTALLED = {
    "numpy": "import numpy",
    "torch": "import torch",
    "nn": "from torch import nn",
    "SafetensorError": "from safetensors import SafetensorError",
    "load_file": "from safetensors.torch import load_file",
}
_OF_TORCH = ("torch.nn.", "torch.optim.")
"""Packages that `import torch` makes usable by their full paths."""


class Names:
    """Chooses the names under which a script imports functions and classes by their dotted paths.

    `taken` are the names that must not be used, because the script defines them.
    """

    def __init__(self, taken: frozenset[str] = frozenset()) -> None:
        self._taken = taken
        self._names: dict[str, SourceText] = {}
        self._lines: dict[str, str] = {}

    def of(self, path: str) -> SourceText:
        """Return the name of a function or class, and remember the import that it needs."""
        if path.startswith(_OF_TORCH):
            return SourceText(path)
        if path not in self._names:
            self._names[path] = self._imported(path)
        return self._names[path]

    @property
    def imports(self) -> list[SourceText]:
        """The import lines for all names that `of` has returned, except those of torch."""
        return [SourceText(line) for line in _merged(list(self._lines.values()))]

    def _imported(self, path: str) -> SourceText:
        """Choose a free name for a dotted path and add its import. Raises ValueError for others."""
        module, _, name = path.rpartition(".")
        if not all(map(is_name, (*module.split("."), name))):
            raise ValueError(f"{path!r} is not a dotted path")
        alias = name
        while alias in self._taken or alias in self._lines:
            alias = path.replace(".", "_") if alias == name else f"{alias}_"
        self._lines[alias] = f"from {module} import {name}"
        if alias != name:
            self._lines[alias] += f" as {alias}"
        return SourceText(alias)


def taken_names(script: str) -> frozenset[str]:
    """Return all names that an import must not take: the script's own, and well-known ones."""
    own = {
        symbol.get_name()
        for scope in _scopes(script)
        for symbol in scope.get_symbols()
        if symbol.is_assigned() or symbol.is_parameter() or symbol.is_namespace()
    }
    return frozenset({*own, *_STANDARD, *_INSTALLED, *vars(builtins)})


def needed_imports(script: str) -> list[list[SourceText]]:
    """Return the import lines for the names that a script uses and does not define, in groups.

    The script must not import `annotations` yet: names in annotations would not count as used.
    """
    used = {
        symbol.get_name()
        for scope in _scopes(script)
        for symbol in scope.get_symbols()
        if symbol.is_global() and symbol.is_referenced()
    }
    groups = [
        _merged([line for name, line in known.items() if name in used])
        for known in (_STANDARD, _INSTALLED)
    ]
    lines = [["from __future__ import annotations"], *groups]
    return [[SourceText(line) for line in group] for group in lines if group]


def _merged(lines: list[str]) -> list[str]:
    """Sort import lines and merge those from the same module into one."""
    modules: dict[str, list[str]] = {}
    for line in lines:
        head, keyword, name = line.partition(" import ")
        modules.setdefault(head if keyword else line, []).extend([name] if keyword else [])
    merged = [
        f"{head} import {', '.join(sorted(names))}" if names else head
        for head, names in modules.items()
    ]
    return sorted(merged, key=lambda line: (line.startswith("from"), line))


def _scopes(script: str) -> Iterator[symtable.SymbolTable]:
    """The symbol tables of a script and of all its functions and classes."""
    waiting = [symtable.symtable(script, "best.py", "exec")]
    while waiting:
        scope = waiting.pop()
        yield scope
        waiting += scope.get_children()
