"""Files that are written whole or not at all, at names that others can foresee.

A link that somebody has planted at such a name is replaced, never followed.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file to write, which takes the place of `path` when the block ends.

    Its content is on the disk before it has the name, so that neither a reader nor a power cut
    meets half a file. Where the block fails, nothing is left.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def write_whole(path: Path, text: str | Iterable[str]) -> None:
    """Make or replace a file of UTF-8 text, given whole or in pieces, and its missing folder.

    Raises OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as file:
        file.writelines(piece.encode() for piece in ([text] if isinstance(text, str) else text))


def new_file(path: Path) -> BinaryIO:
    """Open an empty file to write as one goes on; one that is there is deleted first.

    Raises OSError, such as FileExistsError where somebody else is quicker.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    return path.open("xb")


def _sync_folder(folder: Path) -> None:
    """Write a folder's entries to the disk, where its file system and the platform can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
