"""Files that are written whole or not at all, at names that others can foresee.

A link that somebody has planted at such a name is replaced, never followed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from lrsearch.text.redaction import redacted

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS})


@contextlib.contextmanager
def whole_file(path: Path, prefix: str = ".") -> Iterator[BinaryIO]:
    """Open a file to write, which takes the place of `path` when the block ends.

    Its content is on the disk before it has the name, so that neither a reader nor a power cut
    meets half a file. Where the block fails, nothing is left. `prefix` begins the name that the
    file has meanwhile.
    """
    temporary = path.with_name(f"{prefix}{path.name}.{uuid.uuid4().hex}")
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


def write_whole(path: Path, content: str | bytes | Iterable[str]) -> None:
    """Make or replace a file, and its folder where it is missing. Raises OSError.

    Text, whole or in pieces, is written as UTF-8, without the secrets in it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as file:
        if isinstance(content, bytes):
            file.write(content)
        else:
            pieces = [content] if isinstance(content, str) else content
            file.writelines(redacted(piece).encode() for piece in pieces)


def is_without_room(error: BaseException) -> bool:
    """Whether an error says that the disk is full or read-only."""
    return isinstance(error, OSError) and error.errno in _NO_ROOM


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


@contextlib.contextmanager
def removed_if_empty(folder: Path) -> Iterator[bool]:
    """Remove a folder, and those above it, at the block's end if the block made them and no files.

    Yield whether the folder does not exist yet.
    """
    # A link to what is not there is there: nobody can make a folder in its place.
    missing = [path for path in (folder, *folder.parents) if not os.path.lexists(path)]
    try:
        yield bool(missing)
    finally:
        for path in missing:
            with contextlib.suppress(OSError):
                path.rmdir()
