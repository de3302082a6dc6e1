"""What the tests of commands share."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from command_line import Command


@pytest.fixture
def swept(sweep_folder: Path, tmp_path: Path, command: Command) -> Path:
    """A copy of the folder of a real sweep, as the working directory."""
    shutil.copytree(sweep_folder, tmp_path, dirs_exist_ok=True)
    return tmp_path
