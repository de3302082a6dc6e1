"""Which modules import which, read from their files, and the circles among them."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator, Mapping
from pathlib import Path

Graph = Mapping[str, frozenset[str]]


@functools.cache
def imported_names(path: Path) -> tuple[tuple[str, str], ...]:
    """Return (module, name) of each import of a file, in functions, too; name "" for `import x`.

    Imports for type checking alone do not count.
    """

    def visit(node: ast.AST) -> Iterator[tuple[str, str]]:
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports are not used"
            yield from ((node.module or "", alias.name) for alias in node.names)
        elif isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            for child in node.orelse:
                yield from visit(child)
        else:
            for child in ast.iter_child_nodes(node):
                yield from visit(child)

    return tuple(visit(ast.parse(path.read_text())))


def file_graph(root: Path) -> Graph:
    """The modules of a folder and what each imports of the others.

    A package's modules have its name before theirs; files of a folder of scripts have none.
    """
    above = root.parent if (root / "__init__.py").exists() else root
    files = {_module(path.relative_to(above)): path for path in sorted(root.rglob("*.py"))}
    graph = {}
    for module, path in files.items():
        # `from a import b` imports the module a.b where there is one, or else a.
        found = {
            f"{where}.{name}" if f"{where}.{name}" in files else where
            for where, name in imported_names(path)
        }
        graph[module] = frozenset(found & files.keys() - {module})
    return graph


def room_graph(graph: Graph) -> Graph:
    """The same of rooms: a package below the outermost one, or a module beside them, is a room."""
    rooms: dict[str, set[str]] = {}
    for module, imported in graph.items():
        rooms.setdefault(_room(module), set()).update(map(_room, imported))
    return {room: frozenset(imported - {room}) for room, imported in rooms.items()}


def circles(graph: Graph) -> list[frozenset[str]]:
    """The strongly connected components of more than one module."""
    reached = {node: _reached(graph, node) for node in graph}
    found = {
        frozenset({node, *(other for other in reached[node] if node in reached[other])})
        for node in graph
    }
    return sorted((one for one in found if len(one) > 1), key=sorted)


def _reached(graph: Graph, start: str) -> set[str]:
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        new = graph[waiting.pop()] - seen
        seen |= new
        waiting += new
    return seen


def _module(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _room(module: str) -> str:
    return ".".join(module.split(".")[:2])
