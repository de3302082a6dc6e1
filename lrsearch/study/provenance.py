"""What the numbers of a study depend on besides its settings: versions, and the code."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess

from lrsearch import __version__


def versions() -> dict[str, str]:
    """Versions of what the numbers depend on."""
    names = ("torch", "torchvision", "optuna", "sqlalchemy", "numpy")
    found = {name: importlib.metadata.version(name) for name in names}
    return {"lrsearch": __version__, "python": platform.python_version(), **found}


def git_revision() -> str | None:
    """The commit of the working directory, with `+changes` if it has any; None outside git."""
    try:
        head = subprocess.run(
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, check=True
        )
        changes = subprocess.run(
            ["git", "status", "--porcelain"], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return head.stdout.strip() + ("+changes" if changes.stdout.strip() else "")
