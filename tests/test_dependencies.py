"""pyproject.toml declares each package that is imported, where it is imported."""

from __future__ import annotations

import functools
import importlib.metadata
import re
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest
from import_graph import imported_names

REPO = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
NOT_IMPORTED = {
    "cmaes",  # Optuna imports it
    "psycopg",  # SQLAlchemy imports it
}
"""What lrsearch needs without importing it itself."""
NOT_FOR_USERS = {"test", "bench", "docs"}


def declared(requirements: list[str]) -> set[str]:
    """The names of distributions; those of an extra of lrsearch's own in its place."""
    names = set()
    for requirement in requirements:
        if extras := re.match(r"lrsearch\[([\w,-]+)\]", requirement):
            names |= set().union(*(declared(EXTRAS[extra]) for extra in extras[1].split(",")))
        else:
            names.add(canonical(re.match(r"[\w.-]+", requirement)[0]))  # type: ignore[index]
    return names


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@functools.cache
def distributions() -> Mapping[str, list[str]]:
    """The distributions of each importable package here."""
    return importlib.metadata.packages_distributions()


def imported(folder: str) -> dict[str, set[str]]:
    """The distributions that a folder's files import, and the files."""
    owners = distributions()
    benchmarks = {path.stem for path in REPO.glob("benchmarks/**/*.py")}
    own = {"lrsearch"} if folder == "lrsearch" else {"lrsearch", *benchmarks}
    if folder == "tests":
        own |= {path.stem for path in (REPO / "tests").iterdir()}
    found: dict[str, set[str]] = {}
    for path in (REPO / folder).rglob("*.py"):
        for module, _ in imported_names(path):
            top = module.partition(".")[0]
            if top not in sys.stdlib_module_names and top not in own:
                # One that is not installed here goes by the name that it is imported by.
                for owner in owners.get(top, [top]):
                    found.setdefault(canonical(owner), set()).add(path.name)
    return found


@pytest.mark.parametrize(
    ("folder", "extras"),
    [
        ("lrsearch", EXTRAS.keys() - NOT_FOR_USERS),
        ("tests", EXTRAS.keys() - {"bench"}),
        ("benchmarks", {"bench"}),
    ],
)
def test_what_is_imported_is_declared(folder: str, extras: set[str]) -> None:
    known = declared([*PROJECT["dependencies"], *(f"lrsearch[{extra}]" for extra in extras)])
    missing = {name: files for name, files in imported(folder).items() if name not in known}
    assert missing == {}


def test_what_is_declared_is_imported() -> None:
    unused = declared(PROJECT["dependencies"]) - imported("lrsearch").keys()
    assert unused == NOT_IMPORTED


@pytest.mark.parametrize("name", ["alembic", "hydra-core", "optuna", "waitress"])
def test_a_package_whose_private_parts_are_used_is_held_at_a_minor_version(name: str) -> None:
    (requirement,) = (one for one in PROJECT["dependencies"] if one.startswith(f"{name}>"))
    limits = re.fullmatch(rf"{name}>=(\d+)\.(\d+),<(\d+)\.(\d+)", requirement)
    assert limits is not None
    low_major, low, high_major, high = map(int, limits.groups())
    assert (high_major, high) == (low_major, low + 1)
