"""The cache of tensors: written whole, and checked against its fingerprint when it is opened."""

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
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from lrsearch.data.spec import DEFAULT_CACHE
from lrsearch.errors import LrsearchError, UserError
from lrsearch.files import whole_file, write_whole
from lrsearch.text.formatting import byte_size

if TYPE_CHECKING:
    import torch

    Tensors = dict[str, torch.Tensor]

_log = logging.getLogger(__name__)

_TOLD_FROM = 1 << 30
"""Bytes of a file whose check takes seconds, so that it is said."""
_ABANDONED = 86_400.0
"""Seconds after which nobody writes to an unfinished file any more."""
_LOAD_ERRORS = (
    OSError, EOFError, RuntimeError, ValueError, KeyError, TypeError, AttributeError, IndexError,
    pickle.UnpicklingError,
)  # fmt: skip
"""What torch.load raises for files that are cut off, empty, or of something else."""


class DamagedCache(LrsearchError):
    """A file of the cache does not hold the data of its fingerprint; the message says why."""


def fingerprint_of(tensors: Tensors) -> str:
    """The sha256 of names, types, shapes and bytes, in the order of `tensors`."""
    import torch

    digest = hashlib.sha256()
    for name, tensor in tensors.items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


# The folder


def check_folder(folder: Path) -> None:
    """Keep the default folder to its user; any other one is trusted by the user's word.

    Raises UserError where the default folder belongs to another user.
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
    """Make a folder of the cache to write to. Raises UserError where that cannot be."""
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
    """What to say where something of the cache, `size` bytes, cannot be written."""
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
    """Write the tensors unless the file holds them; several processes may do it at once.

    Raises UserError where the disk is full or read-only.
    """
    import torch

    if os.path.lexists(file):
        try:
            load_tensors(file, fingerprint)
            return
        except DamagedCache as error:
            _log.warning("%s: they are made anew from their source", error)
    make_folder(file.parent)
    _remove_abandoned(file)
    try:
        with whole_file(file) as opened:
            torch.save(tensors, opened)
    except (OSError, RuntimeError) as error:  # torch raises the latter for a full disk
        size = sum(tensor.nbytes for tensor in tensors.values())
        raise unwritable(file, error, size) from None
    with contextlib.suppress(OSError):
        _Checked(file).remember(_state(file), fingerprint)


def _remove_abandoned(file: Path) -> None:
    """Remove what processes that were killed while they wrote the file have left."""
    with contextlib.suppress(OSError):
        for left in file.parent.glob(f".{glob.escape(file.name)}.*"):
            if left.stat().st_mtime < time.time() - _ABANDONED:
                left.unlink()


def load_tensors(file: Path, fingerprint: str) -> Tensors:
    """The tensors, mapped into memory: all processes of a machine share one copy.

    The content is compared with the fingerprint, once for each machine and state of the file.
    Raises DamagedCache.
    """
    try:
        if not stat.S_ISREG(file.stat().st_mode):
            # To open a pipe or a device would wait, or read, without an end.
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
    with checked.alone():
        if checked.knows(before, fingerprint):  # another process was first
            return tensors
        if before[0] > _TOLD_FROM:
            print(f"checking the cached data ({byte_size(before[0])})", file=sys.stderr)
        found = fingerprint_of(tensors)
        if found != fingerprint:
            raise DamagedCache(
                f"the cached data {file} are damaged (their content is {found[:12]}, not "
                f"{fingerprint[:12]})"
            )
        with contextlib.suppress(OSError):
            if _state(file) == before:
                checked.remember(before, fingerprint)
    return tensors


def _mapped(file: Path) -> Tensors:
    import torch

    found = torch.load(file, mmap=True, weights_only=True)
    if not isinstance(found, dict) or not all(isinstance(x, torch.Tensor) for x in found.values()):
        raise ValueError("it holds something else")
    return found


def _state(file: Path) -> list[int]:
    """Size, times and inode: the content is the same as long as they are.

    The time of modification can be set at will, that of the last change (ctime) cannot.
    """
    state = file.stat()
    return [state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino]


class _Checked:
    """What this machine knows of a file that it has checked, in a folder that only its user can
    write to. Where there is no such folder nothing is remembered.
    """

    def __init__(self, file: Path) -> None:
        self._folder = _own_folder(file.parent)
        key = hashlib.sha256(f"{platform.node()} {file.absolute()}".encode()).hexdigest()[:32]
        self._record = None if self._folder is None else self._folder / f"{key}.json"

    def knows(self, state: list[int], fingerprint: str) -> bool:
        """Whether the file had this content in this state."""
        if self._record is None:
            return False
        try:
            return bool(json.loads(self._record.read_text()) == [state, fingerprint])
        except (OSError, ValueError):
            return False

    def remember(self, state: list[int], fingerprint: str) -> None:
        """Note it. Raises OSError."""
        if self._record is not None:
            write_whole(self._record, json.dumps([state, fingerprint]))

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """One process at a time checks, so that the others find what it has found."""
        from filelock import FileLock

        with contextlib.ExitStack() as held:
            if self._folder is not None:
                with contextlib.suppress(OSError, NotImplementedError):
                    held.enter_context(FileLock(self._folder / "lock"))
            yield


def _own_folder(beside: Path) -> Path | None:
    """A folder that only the user can write to: in the cache if that is such a one, else at home.

    None where there is neither.
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
    """The folder, made where it is not there. Raises OSError where others can write to it."""
    folder.mkdir(mode=0o700, exist_ok=True)
    if not _is_private(folder) or not os.access(folder, os.W_OK):
        raise PermissionError(f"{folder} is not the user's own")
    return folder


def _is_private(folder: Path) -> bool:
    state = folder.stat()
    if not hasattr(os, "getuid"):
        return False
    return state.st_uid == os.getuid() and not state.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
