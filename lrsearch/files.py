"""Files that are written atomically, at names that other users can foresee.

A symbolic link that another user has put at such a name is replaced, never followed.
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
    """Open a temporary file for writing, which replaces `path` when the block ends.

    The contents are flushed to the disk before the file is renamed, so neither readers nor a power
    cut leave half a file. If the block fails, the temporary file is removed. `prefix` begins its
    name.
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
    """Create or replace a file atomically, and create its folder if missing. Raises OSError.

    Text, in one or several pieces, is encoded as UTF-8, with secrets redacted.
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
    """Open a new file for writing piece by piece; an existing one is deleted first.

    Raises OSError, such as FileExistsError if another process creates it at the same time.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    return path.open("xb")


def write_private(path: Path, content: bytes) -> None:
    """Create a file that its owner alone can read and write; an existing one is deleted first.

    Raises OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def _sync_folder(folder: Path) -> None:
    """Flush the entries of a folder to the disk, where the platform supports it."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def removed_if_empty(folder: Path) -> Iterator[bool]:
    """Remove a folder, and its parents, after the block if the block created them and left them
    empty.

    Yield whether the folder does not exist yet.
    """
    # A dangling link counts as existing, since no folder can be created in its place.
    missing = [path for path in (folder, *folder.parents) if not os.path.lexists(path)]
    try:
        yield bool(missing)
    finally:
        for path in missing:
            with contextlib.suppress(OSError):
                path.rmdir()
