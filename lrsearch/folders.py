"""Folders that are made for a trial of them, and taken away again."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def for_a_moment(folder: Path) -> Iterator[bool]:
    """Of the folder and those above it, what is made meanwhile goes again, unless it has files.

    Gives whether the folder is yet to be made.
    """
    # A link to what is not there is there: nobody can make a folder in its place.
    missing = [one for one in (folder, *folder.parents) if not os.path.lexists(one)]
    try:
        yield bool(missing)
    finally:
        for one in missing:
            with contextlib.suppress(OSError):
                one.rmdir()
