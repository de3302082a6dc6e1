"""The examples run as they are, and are as short as they are meant to be."""

from __future__ import annotations

import runpy
import shutil
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import nbformat
import pytest
import torch
from documentation import REPO
from nbclient import NotebookClient

from lrsearch.analysis.study_data import read_study
from lrsearch.storage.database import open_existing

EXAMPLES = REPO / "examples"
CASES = sorted(path.name for path in EXAMPLES.iterdir() if path.is_dir())
QUICK = {"plain_loop"}
"""Those that take few seconds; the others read data, import a framework or start scripts."""


def outcomes(folder: Path, study: str) -> list[str | None]:
    """How the trials of a study ended."""
    with closing(open_existing(f"sqlite:///{folder / 'lrsearch.db'}")) as database:
        return [trial.outcome for trial in read_study(database, study, curves=False).trials]


@pytest.fixture
def folder(own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder of a user, with the settings of this process put back afterwards."""
    for name in ("LRSEARCH_STORAGE", "LRSEARCH_CHECKPOINTS"):
        monkeypatch.delenv(name, raising=False)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # other tests run beside this one
    monkeypatch.setattr(sys, "argv", ["search.py"])
    modules = set(sys.modules)
    yield own_folder
    torch.set_num_threads(threads)
    for name in set(sys.modules) - modules:
        if str(own_folder) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.mark.parametrize("case", CASES)
def test_an_example_is_short(case: str) -> None:
    lines = [line for path in (EXAMPLES / case).glob("*.py") for line in path.open()]
    assert 0 < len(lines) < 40


@pytest.mark.xdist_group("examples")
@pytest.mark.parametrize(
    "case",
    [case if case in QUICK else pytest.param(case, marks=pytest.mark.slow) for case in CASES],
)
def test_an_example_runs(case: str, folder: Path) -> None:
    shutil.copytree(EXAMPLES / case, folder, dirs_exist_ok=True)
    runpy.run_path(str(folder / "search.py"), run_name="__main__")
    ended = outcomes(folder, case)
    assert len(ended) >= 2
    assert "complete" in ended
    assert set(ended) <= {"complete", "pruned", "diverged"}


@pytest.mark.slow
def test_the_notebook_runs(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LRSEARCH_CACHE", str(cache))
    monkeypatch.setenv("PYTHONPATH", str(REPO))
    notebook: Any = nbformat.read(  # type: ignore[no-untyped-call]
        EXAMPLES / "notebook.ipynb", as_version=4
    )
    NotebookClient(
        notebook, timeout=200, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    ).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    data = [output["data"] for output in outputs if "data" in output]
    assert any("6/6 trials" in str(one.get("text/html")) for one in data)  # the live table
    assert any("application/vnd.plotly.v1+json" in one for one in data)
    assert any("<table" in str(one.get("text/html")) for one in data)
    ended = outcomes(tmp_path, "notebook")
    assert len(ended) == 12
    assert set(ended) <= {"complete", "pruned"}
