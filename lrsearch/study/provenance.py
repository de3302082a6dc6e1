"""Versions of packages and code that the results of a study depend on."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess

from lrsearch import __version__
from lrsearch.config.storage import command_on
from lrsearch.errors import UserError
from lrsearch.storage.tables import StudyRow
from lrsearch.text.shell import name_word

_DECISIVE = ("lrsearch", "torch")
"""Packages whose minor version a worker shares with the study that it serves."""


def versions() -> dict[str, str]:
    """Return the versions of Python, lrsearch and the packages that results depend on."""
    names = ("torch", "torchvision", "optuna", "sqlalchemy", "numpy")
    installed = {name: importlib.metadata.version(name) for name in names}
    return {"lrsearch": __version__, "python": platform.python_version(), **installed}


def refuse_other_versions(row: StudyRow, allowed: bool, url: str) -> None:
    """Raise UserError where the versions here differ from those that a study was created with.

    Results of other minor versions of lrsearch or torch may not be comparable. With `allowed` they
    are served all the same. `url` is that of the study's database.
    """
    if allowed:
        return
    created, here = row.record["versions"], versions()
    differing = [name for name in _DECISIVE if _minor(created[name]) != _minor(here[name])]
    if not differing:
        return
    wanted = " and ".join(f"{name} {_minor(created[name])}" for name in differing)
    found = " and ".join(f"{name} {_minor(here[name])}" for name in differing)
    allow = command_on(url, "set", name_word(row.name), "allow_versions=true")
    raise UserError(
        f"the study {row.name} was created with {wanted}, and here is {found}: its trials might "
        f"not be comparable; install the same here, or allow it: {allow}"
    )


def _minor(version: str) -> str:
    """Return the major and minor number of a version: `2.14` of `2.14.1+cu130`."""
    return ".".join(version.partition("+")[0].split(".")[:2])


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
