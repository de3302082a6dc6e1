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

# A room, and what must not be imported there, anywhere in the module.
FORBIDDEN = {
    "analysis": ("torch", "hydra", "plotly", "lrsearch.figures", "lrsearch.training",
                 "lrsearch.objective", "lrsearch.workers", "lrsearch.entry", "lrsearch.report"),
    "figures": ("torch", "optuna", "hydra", "sqlalchemy", "lrsearch.training",
                "lrsearch.objective", "lrsearch.workers", "lrsearch.report", "lrsearch.entry"),
    "report": ("torch", "optuna", "hydra", "sqlalchemy", "lrsearch.objective", "lrsearch.workers",
               "lrsearch.entry"),
    "training": ("optuna", "hydra", "omegaconf", "sqlalchemy", "pydantic", "lrsearch.study",
                 "lrsearch.config", "lrsearch.objective", "lrsearch.workers", "lrsearch.entry",
                 "lrsearch.checkpoints", "lrsearch.resumable"),
    "checkpoints": ("optuna", "hydra", "omegaconf", "sqlalchemy", "pydantic", "lrsearch.study",
                    "lrsearch.config", "lrsearch.objective", "lrsearch.workers", "lrsearch.entry",
                    "lrsearch.training", "lrsearch.recipe", "lrsearch.resumable"),
    "resumable.py": ("optuna", "hydra", "sqlalchemy", "lrsearch.study", "lrsearch.config",
                     "lrsearch.entry", "lrsearch.workers", "lrsearch.objective"),
    "schedules": ("optuna", "hydra", "sqlalchemy", "lrsearch.study", "lrsearch.training",
                  "lrsearch.config", "lrsearch.space", "lrsearch.recipe"),
    "space": ("torch", "optuna", "hydra", "sqlalchemy", "lrsearch.study", "lrsearch.training",
              "lrsearch.config"),
    "config": ("torch", "optuna", "hydra", "lrsearch.study", "lrsearch.objective",
               "lrsearch.entry"),
    "dashboard": ("torch", "hydra", "lrsearch.config", "lrsearch.objective", "lrsearch.training",
                  "lrsearch.workers", "lrsearch.entry"),
    "data": ("optuna", "hydra", "sqlalchemy", "lrsearch.study", "lrsearch.config",
             "lrsearch.training"),
    "loggers/catalogue.py": ("torch", "tensorboard", "mlflow"),
    "loggers": ("optuna", "hydra", "sqlalchemy", "lrsearch.config", "lrsearch.workers",
                "lrsearch.objective", "lrsearch.training", "lrsearch.entry"),
    "models": ("optuna", "hydra", "sqlalchemy", "lrsearch.study", "lrsearch.config",
               "lrsearch.training"),
    "pictures": ("torch", "optuna", "hydra", "sqlalchemy", "lrsearch.study", "lrsearch.training",
                 "lrsearch.config", "lrsearch.objective", "lrsearch.workers", "lrsearch.entry",
                 "matplotlib.pyplot"),
    "study": ("torch", "hydra", "lrsearch.objective"),
    "pruning": ("torch", "optuna", "hydra", "sqlalchemy", "lrsearch.study", "lrsearch.config",
                "lrsearch.objective", "lrsearch.training", "lrsearch.workers", "lrsearch.entry"),
    "range_test": ("optuna", "hydra", "lrsearch.analysis"),
    "range_test/curve.py": ("torch", "sqlalchemy", "lrsearch.objective", "lrsearch.training",
                            "lrsearch.study"),
    "range_test/finding.py": ("torch", "sqlalchemy", "lrsearch.study"),
    "range_test/plan.py": ("torch", "sqlalchemy", "lrsearch.study"),
    "range_test/result.py": ("torch", "sqlalchemy", "lrsearch.objective", "lrsearch.training",
                             "lrsearch.study"),
    "confirm": ("optuna", "hydra", "lrsearch.analysis"),
    "confirm/model.py": ("torch", "sqlalchemy", "lrsearch.study"),
    "confirm/plan.py": ("torch", "sqlalchemy", "lrsearch.study"),
    "confirm/result.py": ("torch", "sqlalchemy", "lrsearch.study"),
    "auxiliary.py": ("optuna", "hydra", "lrsearch.range_test", "lrsearch.confirm",
                     "lrsearch.workers", "lrsearch.entry"),
    "storage": ("torch", "hydra", "lrsearch.config", "lrsearch.objective"),
    "queue": ("torch", "hydra", "lrsearch.objective"),
    "optimizers": ("optuna", "hydra", "sqlalchemy", "lrsearch.study", "lrsearch.training",
                   "lrsearch.config", "lrsearch.space", "lrsearch.recipe"),
    "registry.py": ("torch", "optuna", "hydra", "sqlalchemy", "pydantic", "lrsearch.recipe",
                    "lrsearch.space", "lrsearch.config", "lrsearch.schedules.families"),
    "tuning": ("torch", "hydra", "sqlalchemy", "lrsearch.study", "lrsearch.config",
               "lrsearch.workers", "lrsearch.entry"),
    "sampling": ("torch", "hydra", "sqlalchemy", "lrsearch.study", "lrsearch.objective",
                 "lrsearch.workers", "lrsearch.entry", "lrsearch.pruning"),
    "forecast.py": ("torch", "optuna", "hydra", "sqlalchemy", "lrsearch.study", "lrsearch.pruning"),
    "trajectory.py": ("torch", "optuna", "hydra", "sqlalchemy", "lrsearch.study",
                      "lrsearch.pruning"),
    "evaluation.py": ("torch", "optuna", "hydra", "sqlalchemy", "lrsearch"),
    "formatting.py": ("torch", "optuna", "hydra", "sqlalchemy", "lrsearch"),
    "objectives": ("optuna", "hydra", "sqlalchemy", "lrsearch.study", "lrsearch.entry",
                   "lrsearch.workers"),
    "objective.py": ("optuna", "hydra", "sqlalchemy", "lrsearch.study", "lrsearch.entry"),
    "recipe.py": ("optuna", "hydra", "sqlalchemy", "lrsearch.study", "lrsearch.training"),
    "workers": ("hydra", "lrsearch.dashboard"),
}  # fmt: skip

LAYERS = (("storage",), ("queue",), ("range_test", "confirm"), ("study",), ("workers",), ("entry",))
"""The rooms of studies, the lowest first: each may import those below it alone."""


ROOMS_IN_A_CIRCLE = [
    {"lrsearch.config", "lrsearch.loggers", "lrsearch.pruning", "lrsearch.study"},
    {"lrsearch.parameters", "lrsearch.schedules"},
]
"""Rooms that still import each other. The list is exact: take out what is mended."""


def imported(path: Path) -> set[str]:
    """Everything that a module imports, except for type checking alone."""
    return {module for module, _ in imported_names(path)}


def modules(room: str) -> list[Path]:
    path = PACKAGE / room
    return [path] if path.suffix else sorted(path.glob("*.py"))


def imports_of(room: str, forbidden: set[str]) -> list[str]:
    """What the modules of a room import of the forbidden ones."""
    return [
        f"{module.name} imports {name}"
        for module in modules(room)
        for name in sorted(imported(module))
        for one in forbidden
        if name == one or name.startswith(f"{one}.")
    ]


@pytest.mark.parametrize("room", sorted(FORBIDDEN))
def test_a_room_imports_nothing_that_lies_behind_it(room: str) -> None:
    forbidden = set(FORBIDDEN[room])
    if "lrsearch.study" in forbidden:  # nor what it is built on
        forbidden |= {"lrsearch.queue", "lrsearch.storage"}
    assert modules(room)
    assert imports_of(room, forbidden) == []


@pytest.mark.parametrize(("height", "layer"), list(enumerate(LAYERS)))
def test_a_room_of_studies_imports_those_below_it_alone(
    height: int, layer: tuple[str, ...]
) -> None:
    for room in layer:
        beside = [other for other in layer if other != room]
        above = [other for higher in LAYERS[height + 1 :] for other in higher]
        forbidden = {f"lrsearch.{other}" for other in (*beside, *above)}
        assert imports_of(room, forbidden) == []


@pytest.mark.parametrize("root", ROOTS, ids=lambda path: path.name)
def test_no_files_import_each_other(root: Path) -> None:
    graph = file_graph(root)
    assert len(graph) > 10
    assert circles(graph) == []


def test_no_rooms_import_each_other_but_the_known_ones() -> None:
    assert circles(room_graph(file_graph(PACKAGE))) == sorted(
        map(frozenset, ROOMS_IN_A_CIRCLE), key=sorted
    )


def test_circles_are_found() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": {"e"}, "e": set()}
    frozen = {name: frozenset(imports) for name, imports in graph.items()}
    assert circles(frozen) == [frozenset("bc")]
    assert circles(frozen | {"e": frozenset("d")}) == [frozenset("bc"), frozenset("de")]


def test_hydra_stays_at_the_entry_and_optuna_in_a_few_modules() -> None:
    users: dict[str, set[str]] = {"hydra": set(), "optuna": set()}
    for path in PACKAGE.rglob("*.py"):
        for name in imported(path):
            package = name.partition(".")[0]
            if package in users:
                users[package].add(path.relative_to(PACKAGE).as_posix())
    assert all(user.startswith("entry/") for user in users["hydra"])
    assert users["optuna"] == {
        "storage/optuna_bridge.py", "storage/optuna_trials.py", "storage/optuna_tables.py",
        "storage/suggestions.py", "storage/optuna_internals.py", "samplers.py",
        "dashboard/server.py",
        "dashboard/pictures.py",
        "tuning/own_pruner.py", "analysis/importance.py", "sampling/auto.py", "sampling/joint.py",
        "sampling/observations.py", "sampling/units.py",
    }  # fmt: skip


PRIVATE = {"hydra": "entry/hydra_internals.py", "optuna": "storage/optuna_internals.py"}
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
        "import sys; from lrsearch.entry.compose import load_settings; "
        "load_settings(['+sweep=digits']); "
        "print([name for name in ('torch', 'torchvision', 'optuna', 'sklearn')"
        " if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_commands_that_only_read_import_nothing_that_they_do_not_need(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'study.db'}"
    sweep = ToldSweep(url)
    sweep.trial()
    sweep.close()
    code = """
import contextlib, io, sys
from lrsearch.entry.main import main

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


def test_a_worker_trains_without_importing_torchvision(environment: dict[str, str]) -> None:
    code = (
        "import sys; from lrsearch.entry.compose import load_settings; "
        "from lrsearch.objective import build_objective; from lrsearch.data.prepare import prepare;"
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
