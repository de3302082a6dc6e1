"""Raw files: read where they lie, unpacked aside from the root, or downloaded."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import io
import logging
import os
import shutil
import socket
import sys
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from lrsearch.data.cache import make_folder, unwritable
from lrsearch.data.sources import RawFiles, Source
from lrsearch.errors import LrsearchError, UserError
from lrsearch.files import is_without_room, removed_if_empty

if TYPE_CHECKING:
    import torch

_log = logging.getLogger(__name__)

DOWNLOAD_TIMEOUT = 30.0
"""Seconds without a byte after which a connection counts as dead."""

DOWNLOAD_ERRORS = (OSError, RuntimeError, http.client.HTTPException)
"""What a failing download raises: no network, a refusal, a wrong checksum."""

UNPACK_ERRORS = (
    OSError, EOFError, RuntimeError, tarfile.TarError, zlib.error,
    AssertionError, ValueError, TypeError, KeyError,
)  # fmt: skip
"""What a cut-off or damaged archive raises, when unpacked or read by torchvision."""


class DownloadFailed(LrsearchError):
    """The raw files are not there and cannot be had; the message says why."""


def raw_files(files: RawFiles, root: Path, cache: Path) -> list[tuple[str, int, int]]:
    """Name, size and time of change of every raw file at hand: what a cache key depends on."""
    paths = [f"{files.folder}/{name}" for name in files.unpacked]
    paths += [f"{files.archive_folder}/{name}" for name in files.archives]
    found = []
    for folder in _places(files, root, cache):
        for path in paths:
            with contextlib.suppress(OSError):
                state = (folder / path).stat()
                found.append((path, state.st_size, state.st_mtime_ns))
    return found


def read_raw(name: str, source: Source, root: Path, cache: Path) -> tuple[torch.Tensor, ...]:
    """The tensors of a source that has files, as its function returns them.

    Files are read in place where they are unpacked. Archives are unpacked under `cache`, so that
    `root` stays as it is. Otherwise torchvision downloads into `root`, or under `cache` when
    `root` cannot be written to.

    Raises DownloadFailed, and UserError when unpacked files in place are damaged.
    """
    files = source.files
    assert files is not None, "only sources with files are read from files"
    tensors = _read_present(source, files, root, cache)
    return tensors if tensors is not None else _download(name, source, files, root, cache)


def _places(files: RawFiles, root: Path, cache: Path) -> tuple[Path, Path]:
    """Where unpacked files may lie: in `root`, or in a folder of the cache for just this root."""
    parts = [str(root)]
    for name in files.archives:
        with contextlib.suppress(OSError):
            state = (root / files.archive_folder / name).stat()
            parts.append(f"{name} {state.st_size} {state.st_mtime_ns}")
    key = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
    return root, cache / "raw" / key


def _read_present(
    source: Source, files: RawFiles, root: Path, cache: Path
) -> tuple[torch.Tensor, ...] | None:
    """The tensors from files that are at hand; None when files are missing."""
    places = _places(files, root, cache)
    for folder in places:
        if _is_unpacked(files, folder):
            try:
                return source.read(str(folder), download=False)
            except UNPACK_ERRORS as error:
                where = folder / files.folder
                if folder == root:
                    raise UserError(
                        f"the files in {where} are damaged ({error}); delete them"
                    ) from error
                _log.warning("the files in %s are damaged (%s): they are made anew", where, error)
                shutil.rmtree(folder, ignore_errors=True)
    for folder in places:
        try:
            return _read_archives(source, files, folder, places[1])
        except UNPACK_ERRORS as error:  # a cut-off archive: download it again
            if is_without_room(error):
                raise unwritable(places[1], error) from None
    return None


def _is_unpacked(files: RawFiles, root: Path) -> bool:
    """Whether all unpacked files are there in full; one of another size was cut off."""
    for name, size in files.unpacked.items():
        path = root / files.folder / name
        if not path.is_file() or size not in (None, path.stat().st_size):
            return False
    return True


def _read_archives(
    source: Source, files: RawFiles, root: Path, kept: Path
) -> tuple[torch.Tensor, ...]:
    """The tensors from archives, unpacked below `kept`; raises one of UNPACK_ERRORS."""
    archives = [root / files.archive_folder / name for name in files.archives]
    for archive in archives:
        if not archive.is_file():
            raise FileNotFoundError(archive)
    from torchvision.datasets.utils import extract_archive

    make_folder(kept)
    with tempfile.TemporaryDirectory(prefix="unpack-", dir=kept) as passing:
        to = Path(passing, files.archive_folder)
        to.mkdir(parents=True, exist_ok=True)
        for archive in archives:
            extract_archive(str(archive), str(to))
        if not _is_unpacked(files, Path(passing)):
            raise EOFError(f"the archives in {root / files.archive_folder} are not complete")
        tensors = source.read(passing, download=False)
        top = Path(files.folder).parts[0]
        # Whole or not at all; if it is there, another process was first.
        with contextlib.suppress(OSError):
            Path(passing, top).rename(kept / top)
    return tensors


def unpacked_root(files: RawFiles, root: Path, cache: Path) -> Path:
    """The root below which the unpacked files are: `root`, or a folder of the cache."""
    for folder in _places(files, root, cache):
        if _is_unpacked(files, folder):
            return folder
    return root


def _download(
    name: str, source: Source, files: RawFiles, root: Path, cache: Path
) -> tuple[torch.Tensor, ...]:
    """Download through torchvision, which checks the files and keeps those that are complete."""
    from filelock import FileLock

    make_folder(cache)
    with FileLock(cache / "download.lock"):  # two sweeps must not write the same files at once
        tensors = _read_present(source, files, root, cache)
        if tensors is not None:
            return tensors
        folder = root
        if not _is_writable(root / files.archive_folder):
            folder = _places(files, root, cache)[1]
        print(f"downloading {name} into {folder}", file=sys.stderr)
        try:
            with (
                removed_if_empty(folder / files.archive_folder),  # what has come so far stays
                socket_timeout(DOWNLOAD_TIMEOUT),
                # torchvision draws a progress bar for each file
                contextlib.redirect_stderr(io.StringIO()),
            ):
                return source.read(str(folder), download=True)
        except (*DOWNLOAD_ERRORS, *UNPACK_ERRORS) as error:
            if is_without_room(error):  # not to be taken for a network that is down
                raise unwritable(folder, error) from None
            raise DownloadFailed(" ".join(str(error).split()) or type(error).__name__) from error


def _is_writable(folder: Path) -> bool:
    """Whether files can be made in `folder`, which need not exist yet."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    # The mode counts even for the superuser, who could write anyway: read-only is meant.
    marked = folder.is_dir() and folder.stat().st_mode & 0o222
    return bool(marked) and os.access(folder, os.W_OK | os.X_OK)


@contextlib.contextmanager
def socket_timeout(seconds: float) -> Iterator[None]:
    """New connections give up after `seconds` without a byte, while this is open."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def missing_files(name: str, files: RawFiles, root: Path, reason: str) -> str:
    """The message for the user when nothing stands in for a failed download."""
    archives = "\n".join(f"    {archive}" for archive in files.archives)
    return (
        f"the data {name} are not in {root} and could not be downloaded: {reason}\n"
        f"  Put these files into {root / files.archive_folder}:\n{archives}\n"
        f"  or say where they are: data.root=FOLDER or LRSEARCH_DATA=FOLDER\n"
        f"  or take the small data that come with scikit-learn: data.fallback=digits"
    )
