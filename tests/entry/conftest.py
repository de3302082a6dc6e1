"""What the tests of commands share: a sweep that has been run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import Command

REPO = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(scope="session")
def sweep_folder(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """Where a real sweep on digits has been run: 6 trials of 3 epochs, none of them pruned."""
    folder = tmp_path_factory.mktemp("swept")
    mine = {key: value for key, value in os.environ.items() if not key.startswith("LRSEARCH_")}
    subprocess.run(
        [sys.executable, "-m", "lrsearch", "+sweep=digits", "study.n_trials=6", "train.epochs=3",
         "pruner=none", "workers=2"],
        cwd=folder,
        env={**mine, "LRSEARCH_CACHE": str(cache), "PYTHONPATH": str(REPO)},
        check=True,
        capture_output=True,
        timeout=120,
    )  # fmt: skip
    return folder


@pytest.fixture
def swept(sweep_folder: Path, tmp_path: Path, command: Command) -> Path:
    """A copy of that folder, as the working directory."""
    shutil.copytree(sweep_folder, tmp_path, dirs_exist_ok=True)
    return tmp_path
