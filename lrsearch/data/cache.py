"""The cache of tensors: files that are written atomically, and checked when they are opened."""

from __future__ import annotations

import contextlib
import errno
import glob
import hashlib
import json
import logging
import os
import pickle
import platform
import stat
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO, cast

from lrsearch.data.progress import announced
from lrsearch.data.spec import DEFAULT_CACHE
from lrsearch.errors import LrsearchError, UserError
from lrsearch.files import whole_file, write_whole
from lrsearch.text.formatting import byte_size

if TYPE_CHECKING:
    import torch

    Tensors = dict[str, torch.Tensor]

_log = logging.getLogger(__name__)

_CHUNK = 1 << 26
"""Bytes that are hashed or written at a time; between two chunks Ctrl-C ends it."""
_ABANDONED = 86_400.0
"""Seconds without a change after which an unfinished file counts as abandoned."""
_LOAD_ERRORS = (
    OSError, EOFError, RuntimeError, ValueError, KeyError, TypeError, AttributeError, IndexError,
    pickle.UnpicklingError,
)  # fmt: skip
"""Errors of torch.load for files that are truncated, empty, or of another format."""


class DamagedCache(LrsearchError):
    """A cache file is missing or does not match its fingerprint; the message gives the reason."""


def fingerprint_of(tensors: Tensors) -> str:
    """The sha256 of the names, types, shapes and bytes of all tensors, in their order."""
    import torch

    digest = hashlib.sha256()
    total, done = size_of(tensors), 0
    with announced(
        "reading all bytes of the data", lambda: f"{byte_size(done)} of {byte_size(total)}"
    ):
        for name, tensor in tensors.items():
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            content = tensor.contiguous().flatten().view(torch.uint8).numpy().data
            for start in range(0, len(content), _CHUNK):
                chunk = content[start : start + _CHUNK]
                digest.update(chunk)
                done += len(chunk)
    return digest.hexdigest()


def size_of(tensors: Tensors) -> int:
    """The size of all tensors together, in bytes."""
    return sum(tensor.nbytes for tensor in tensors.values())


# The folder


def check_folder(folder: Path) -> None:
    """Make the default cache folder writable by its owner alone; other folders are trusted.

    Raises UserError if the default folder belongs to another user.
    """
    if folder != DEFAULT_CACHE.expanduser() or not hasattr(os, "getuid"):
        return
    try:
        state = folder.stat()
    except OSError:
        return
    if state.st_uid != os.getuid():
        raise UserError(
            f"data.cache: {folder} belongs to another user (uid {state.st_uid}), who could change "
            f"the data in it: name a folder of your own with data.cache=FOLDER or "
            f"LRSEARCH_CACHE=FOLDER; one that is named is used, whoever owns it"
        )
    if state.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        with contextlib.suppress(OSError):
            folder.chmod(0o700)


def make_folder(folder: Path) -> None:
    """Create a folder of the cache. Raises UserError if it cannot be created or written to."""
    default = DEFAULT_CACHE.expanduser()
    try:
        if folder.is_relative_to(default):
            default.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise unwritable(folder, error) from None
    check_folder(folder)


def unwritable(path: Path, error: Exception, size: int | None = None) -> UserError:
    """The error for a file of the cache, of `size` bytes, that cannot be written."""
    if getattr(error, "errno", None) == errno.EISDIR:
        return UserError(
            f"data.cache: {path} is a folder, where lrsearch keeps a file: remove that folder, or "
            f"name another cache with data.cache=FOLDER or LRSEARCH_CACHE=FOLDER"
        )
    reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:200]
    needed = "" if size is None else f"; {byte_size(size)} are needed"
    return UserError(
        f"data.cache: cannot write {path} ({reason}{needed}): make room there, or name another "
        f"folder with data.cache=FOLDER or LRSEARCH_CACHE=FOLDER"
    )


# The files of tensors


def save_tensors(file: Path, tensors: Tensors, fingerprint: str) -> None:
    """Write the tensors unless the file holds them already; safe in several processes at once.

    Raises UserError if the file cannot be written.
    """
    import torch

    if os.path.lexists(file):
        try:
            load_tensors(file, fingerprint)
            return
        except DamagedCache as error:
            _log.warning("%s: they are made again from their source", error)
    make_folder(file.parent)
    _remove_abandoned(file)
    size = size_of(tensors)
    try:
        with whole_file(file) as opened:
            chunked = _Chunked(opened)
            with announced(
                f"writing the data into {file.parent}",
                lambda: f"{byte_size(chunked.written)} of {byte_size(size)}",
            ):
                chunked.run(lambda: torch.save(tensors, cast("IO[bytes]", chunked)))
    except (OSError, RuntimeError) as error:  # torch raises the latter for a full disk
        raise unwritable(file, error, size) from None
    with contextlib.suppress(OSError):
        _Checked(file).remember(_state(file), fingerprint)


class _Chunked:
    """A file that is written in chunks, so that Ctrl-C and errors end the writing at once.

    torch turns every exception of a write into an error of its own, and goes on writing.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.written = 0
        self._file = file
        self._error: BaseException | None = None

    def write(self, data: Any) -> int:
        """Write all of the bytes; nothing any more once a write has failed."""
        if self._error is not None:
            raise self._error
        view = memoryview(data).cast("B")
        try:
            for start in range(0, len(view), _CHUNK):
                self._file.write(view[start : start + _CHUNK])
                self.written += len(view[start : start + _CHUNK])
        except BaseException as error:
            self._error = error
            raise
        return len(view)

    def flush(self) -> None:
        """Do nothing: the file itself is flushed by whoever opened it."""

    def run(self, write: Callable[[], None]) -> None:
        """Write by a function. Raises the exception of the first write that failed."""
        try:
            write()
        finally:
            if self._error is not None:
                raise self._error


def _remove_abandoned(file: Path) -> None:
    """Remove the unfinished files of processes that were killed while they wrote `file`."""
    with contextlib.suppress(OSError):
        for unfinished in file.parent.glob(f".{glob.escape(file.name)}.*"):
            if unfinished.stat().st_mtime < time.time() - _ABANDONED:
                unfinished.unlink()


def load_tensors(file: Path, fingerprint: str) -> Tensors:
    """Map the tensors of a file into memory, where all processes of a machine share one copy.

    The contents are compared with the fingerprint, once for each machine and version of the file.
    Raises DamagedCache if they differ, or the file is missing or unreadable.
    """
    try:
        if not stat.S_ISREG(file.stat().st_mode):
            # Reading a pipe or a device might never end.
            raise DamagedCache(f"the cached data {file} are damaged (that is not a regular file)")
        before = _state(file)
        tensors = _mapped(file)
    except FileNotFoundError:
        raise DamagedCache(f"the cached data {file} are gone") from None
    except _LOAD_ERRORS as error:
        reason = str(error).partition(". ")[0].partition("\n")[0] or type(error).__name__
        reason = reason if zipfile.is_zipfile(file) else "they are empty or cut off"
        raise DamagedCache(f"the cached data {file} are damaged ({reason})") from None
    checked = _Checked(file)
    if checked.knows(before, fingerprint):
        return tensors
    with checked.lock():
        if checked.knows(before, fingerprint):  # another process was first
            return tensors
        actual = fingerprint_of(tensors)
        if actual != fingerprint:
            raise DamagedCache(
                f"the cached data {file} are damaged (their content is {actual[:12]}, not "
                f"{fingerprint[:12]})"
            )
        with contextlib.suppress(OSError):
            if _state(file) == before:
                checked.remember(before, fingerprint)
    return tensors


def _mapped(file: Path) -> Tensors:
    import torch

    """The tensors of a file, unchecked. Raises one of `_LOAD_ERRORS`."""
    loaded = torch.load(file, mmap=True, weights_only=True)
    if not isinstance(loaded, dict) or not all(
        isinstance(value, torch.Tensor) for value in loaded.values()
    ):
        raise ValueError("it holds something else")
    return loaded


def _state(file: Path) -> list[int]:
    """Size, modification time, change time and inode; unchanged as long as the contents are.

    The modification time can be set by any program, the change time (ctime) cannot.
    """
    state = file.stat()
    return [state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino]


class _Checked:
    """The record of a file's last successful check on this machine.

    It is kept in a folder that only the user can write to; without one nothing is recorded.
    """

    def __init__(self, file: Path) -> None:
        self._folder = _own_folder(file.parent)
        key = hashlib.sha256(f"{platform.node()} {file.absolute()}".encode()).hexdigest()[:32]
        self._record = None if self._folder is None else self._folder / f"{key}.json"

    def knows(self, state: list[int], fingerprint: str) -> bool:
        """Whether the file was found to have this fingerprint in this state."""
        if self._record is None:
            return False
        try:
            return bool(json.loads(self._record.read_text()) == [state, fingerprint])
        except (OSError, ValueError):
            return False

    def remember(self, state: list[int], fingerprint: str) -> None:
        """Record that the file has this fingerprint in this state. Raises OSError."""
        if self._record is not None:
            write_whole(self._record, json.dumps([state, fingerprint]))

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Let one process at a time check, so that the others find its record."""
        from filelock import FileLock

        with contextlib.ExitStack() as held:
            if self._folder is not None:
                with contextlib.suppress(OSError, NotImplementedError):
                    held.enter_context(FileLock(self._folder / "lock"))
            yield


def _own_folder(beside: Path) -> Path | None:
    """A folder for records that only the user can write to; None if there is none.

    It lies in `beside` if only the user can write there, or else in the user's home.
    """
    with contextlib.suppress(OSError):
        if _is_private(beside):
            return _private(beside / "checked")
    with contextlib.suppress(OSError, RuntimeError):
        home = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "lrsearch"
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        return _private(home / "checked")
    return None


def _private(folder: Path) -> Path:
    """The folder, created if missing. Raises OSError if others can write to it."""
    folder.mkdir(mode=0o700, exist_ok=True)
    if not _is_private(folder) or not os.access(folder, os.W_OK):
        raise PermissionError(f"{folder} is not the user's own")
    return folder


def _is_private(folder: Path) -> bool:
    """Whether a folder belongs to the user, and neither its group nor others can write to it."""
    state = folder.stat()
    if not hasattr(os, "getuid"):
        return False
    return state.st_uid == os.getuid() and not state.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
