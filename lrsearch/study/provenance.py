"""Versions of packages and code that the results of a study depend on."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess

from lrsearch import __version__


def versions() -> dict[str, str]:
    """Return the versions of Python, lrsearch and the packages that results depend on."""
    names = ("torch", "torchvision", "optuna", "sqlalchemy", "numpy")
    installed = {name: importlib.metadata.version(name) for name in names}
    return {"lrsearch": __version__, "python": platform.python_version(), **installed}


def git_revision() -> str | None:
    """Return the Git commit of the working directory; None outside a repository.

    `+changes` is appended if there are uncommitted changes.
    """
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
