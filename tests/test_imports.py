"""Dependencies point one way, at the level of rooms, imports within functions included."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from import_graph import circles, file_graph, imported_names, room_graph
from told_sweep import ToldSweep

PACKAGE = Path(__file__).resolve().parent.parent / "lrsearch"
BENCHMARKS = PACKAGE.parent / "benchmarks"
ROOTS = [PACKAGE, BENCHMARKS, BENCHMARKS / "search"]
"""Folders whose modules import each other by name."""

FLOORS = (
    ("errors", "evaluation", "seeds", "states"),
    ("text",),
    ("files", "own_code", "parameters", "storage"),
    ("checkpoints", "registry"),
    ("data", "loggers", "measures", "optimizers"),
    ("models", "schedules"),
    ("recipe",),
    ("space", "training"),
    ("settings", "tuning"),
    ("objectives", "queue"),
    ("config", "confirm", "export"),
    ("integrations", "range_test"),
    ("study",),
    ("analysis", "workers"),
    ("launchers", "plots"),
    ("dashboard", "registries", "report"),
    ("cli",),
    ("__main__", "api"),
)
"""The rooms, the lowest first: each imports those of lower floors alone."""

USERS = {
    "hydra": {"cli"},
    "omegaconf": {"cli"},
    "optuna": {"analysis", "dashboard", "storage", "tuning"},
    "sqlalchemy": {
        "analysis", "cli", "config", "confirm", "dashboard", "launchers", "queue", "range_test",
        "storage", "study",
    },
    "torch": {
        "api", "checkpoints", "cli", "data", "loggers", "measures", "models", "objectives",
        "optimizers",
        "recipe", "schedules", "seeds", "training", "workers",
    },
    "ray": {"launchers"},
    "pydantic": {"config", "settings"},
    "plotly": {"plots", "report"},
    "matplotlib": {"plots"},
    "typer": {"cli"},
    "rich": {"api", "cli"},
    "transformers": {"integrations"},
    "lightning": {"integrations"},
    "accelerate": {"integrations"},
    "submitit": {"launchers"},
}  # fmt: skip
"""Packages, and the rooms that may import them."""


def imported(path: Path) -> set[str]:
    """Everything that a module imports, except for type checking alone."""
    return {module for module, _ in imported_names(path)}


def test_each_room_imports_those_below_it_alone() -> None:
    graph = room_graph(file_graph(PACKAGE))
    heights = {f"lrsearch.{room}": at for at, floor in enumerate(FLOORS) for room in floor}
    # The package itself has the public names, which are imported when they are used.
    assert graph.keys() - {"lrsearch"} == heights.keys()
    wrong = [
        f"{room} imports {other}"
        for room, imports in graph.items()
        for other in sorted(imports - {"lrsearch"})
        if heights[other] >= heights.get(room, 0)
    ]
    assert wrong == []


@pytest.mark.parametrize("package", sorted(USERS))
def test_a_package_is_imported_in_its_rooms_alone(package: str) -> None:
    users = {
        path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        for path in PACKAGE.rglob("*.py")
        if any(name.partition(".")[0] == package for name in imported(path))
    }
    assert users == USERS[package]


@pytest.mark.parametrize("root", ROOTS, ids=lambda path: path.name)
def test_no_files_import_each_other(root: Path) -> None:
    graph = file_graph(root)
    assert len(graph) > 10
    assert circles(graph) == []


def test_circles_are_found() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": {"e"}, "e": set()}
    frozen = {name: frozenset(imports) for name, imports in graph.items()}
    assert circles(frozen) == [frozenset("bc")]
    assert circles(frozen | {"e": frozenset("d")}) == [frozenset("bc"), frozenset("de")]


PRIVATE = {
    "hydra": "cli/hydra_internals.py",
    "optuna": "storage/optuna_internals.py",
    "optuna_dashboard": "dashboard/figure_order.py",
}
"""Libraries, and the one module that uses private names of theirs."""


def test_private_names_of_libraries_are_imported_in_one_module_each() -> None:
    users = {
        (module.partition(".")[0], path.relative_to(PACKAGE).as_posix())
        for path in PACKAGE.rglob("*.py")
        for module, name in imported_names(path)
        if any(re.match("_[^_]", part) for part in (*module.split("."), name))
    }
    assert users == set(PRIVATE.items())


def test_checking_a_configuration_imports_neither_torch_nor_optuna() -> None:
    code = (
        "import sys; from lrsearch.cli.compose import load_settings; "
        "load_settings(['+sweep=digits']); "
        "print([name for name in ('torch', 'torchvision', 'optuna', 'sklearn')"
        " if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_command_that_runs_a_sweep_leaves_torch_to_its_workers() -> None:
    code = "import sys, lrsearch.cli.run; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_commands_that_only_read_import_nothing_that_they_do_not_need(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'study.db'}"
    sweep = ToldSweep(url)
    sweep.trial()
    sweep.close()
    code = """
import contextlib, io, sys
from lrsearch.cli.main import main

for words in ("status digits", "best digits", "show digits 0", "compare digits 0 1",
              "export digits", "export digits --format json", "try digits lr=0.1"):
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
        main([*words.split(), sys.argv[1]])
heavy = ("torch", "optuna", "scipy", "sklearn", "pandas", "plotly", "matplotlib")
print([name for name in heavy if name in sys.modules])
"""
    command = [sys.executable, "-c", code, f"storage.url={url}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.strip() == "[]"
    assert (tmp_path / "outputs" / "digits" / "epochs.csv").is_file()


@pytest.mark.slow
def test_a_worker_trains_without_importing_torchvision(environment: dict[str, str]) -> None:
    code = (
        "import sys; from lrsearch.cli.compose import load_settings; "
        "from lrsearch.objectives.build import build_objective; "
        "from lrsearch.data.prepare import prepare; "
        "import random; from lrsearch.checkpoints.store import NoCheckpoints; "
        "from reports import Collected; s = load_settings(['+sweep=digits', 'train.epochs=1']); "
        "o = build_objective(s, prepare(s.data).to_json()); seen = Collected(); "
        "o.run(s.space.sample(random.Random(0)), 0, seen, lambda: False, NoCheckpoints()); "
        "print(len(seen), 'torchvision' in sys.modules)"
    )
    path = os.pathsep.join([environment["PYTHONPATH"], str(Path(__file__).parent)])
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**environment, "PYTHONPATH": path},
    )
    assert done.stdout.strip() == "1 False"
