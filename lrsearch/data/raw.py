"""Raw files of a data set: read in place, unpacked under the cache folder, or downloaded."""

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
from lrsearch.data.progress import announced
from lrsearch.data.sources import RawFiles, Source
from lrsearch.errors import LrsearchError, UserError
from lrsearch.files import is_without_room, removed_if_empty
from lrsearch.text.formatting import byte_size

if TYPE_CHECKING:
    import torch

_log = logging.getLogger(__name__)

DOWNLOAD_TIMEOUT = 30.0
"""Seconds without a byte after which a connection counts as dead."""

DOWNLOAD_ERRORS = (OSError, RuntimeError, http.client.HTTPException)
"""Errors of a failed download: no network, an HTTP error status, a wrong checksum."""

UNPACK_ERRORS = (
    OSError, EOFError, RuntimeError, tarfile.TarError, zlib.error,
    AssertionError, ValueError, TypeError, KeyError,
)  # fmt: skip
"""Errors of a truncated or damaged archive when it is unpacked, or read by torchvision."""


class DownloadFailed(LrsearchError):
    """The raw files are missing and cannot be downloaded; the message gives the reason."""


def raw_files(files: RawFiles, root: Path, cache: Path) -> list[tuple[str, int, int]]:
    """Path, size in bytes and modification time in ns of every existing raw file, for a cache key.

    Paths are relative to the root that holds the file.
    """
    paths = [f"{files.folder}/{name}" for name in files.unpacked]
    paths += [f"{files.archive_folder}/{name}" for name in files.archives]
    present = []
    for folder in _roots(files, root, cache):
        for path in paths:
            with contextlib.suppress(OSError):
                state = (folder / path).stat()
                present.append((path, state.st_size, state.st_mtime_ns))
    return present


def read_raw(name: str, source: Source, root: Path, cache: Path) -> tuple[torch.Tensor, ...]:
    """The tensors (pool_x, pool_y, test_x, test_y) of a source with raw files.

    Unpacked files are read in place. Archives are unpacked under `cache`, so that `root` stays as
    it is. Otherwise torchvision downloads into `root`, or under `cache` if `root` is not writable.

    Raises DownloadFailed if the files cannot be downloaded, and UserError if unpacked files in
    `root` are damaged or the cache cannot be written.
    """
    files = source.files
    assert files is not None, "only sources with files are read from files"
    tensors = _read_present(source, files, root, cache)
    return tensors if tensors is not None else _download(name, source, files, root, cache)


def _roots(files: RawFiles, root: Path, cache: Path) -> tuple[Path, Path]:
    """The roots that may hold unpacked files: `root`, and a folder of the cache.

    That folder is named after `root` and the state of its archives.
    """
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
    """The tensors from files on this machine; None if files are missing or archives damaged."""
    roots = _roots(files, root, cache)
    for folder in roots:
        if _is_unpacked(files, folder):
            try:
                with announced(f"reading {folder / files.folder}"):
                    return source.read(str(folder), download=False)
            except UNPACK_ERRORS as error:
                where = folder / files.folder
                if folder == root:
                    raise UserError(
                        f"the files in {where} are damaged ({error}); delete them"
                    ) from error
                _log.warning("the files in %s are damaged (%s): made again", where, error)
                shutil.rmtree(folder, ignore_errors=True)
    for folder in roots:
        try:
            return _read_archives(source, files, folder, roots[1])
        except UNPACK_ERRORS as error:  # a truncated archive: the caller downloads it again
            if is_without_room(error):
                raise unwritable(roots[1], error) from None
    return None


def _is_unpacked(files: RawFiles, root: Path) -> bool:
    """Whether all unpacked files exist in their full size."""
    for name, size in files.unpacked.items():
        path = root / files.folder / name
        if not path.is_file() or size not in (None, path.stat().st_size):
            return False
    return True


def _read_archives(
    source: Source, files: RawFiles, root: Path, kept: Path
) -> tuple[torch.Tensor, ...]:
    """The tensors from archives, which are unpacked under `kept`; raises one of UNPACK_ERRORS."""
    archives = [root / files.archive_folder / name for name in files.archives]
    for archive in archives:
        if not archive.is_file():
            raise FileNotFoundError(archive)
    from torchvision.datasets.utils import extract_archive

    make_folder(kept)
    with tempfile.TemporaryDirectory(prefix="unpack-", dir=kept) as temporary:
        target = Path(temporary, files.archive_folder)
        target.mkdir(parents=True, exist_ok=True)
        for archive in archives:
            with announced(f"unpacking {archive}", lambda: _size_below(target)):
                extract_archive(str(archive), str(target))
        if not _is_unpacked(files, Path(temporary)):
            raise EOFError(f"the archives in {root / files.archive_folder} are not complete")
        tensors = source.read(temporary, download=False)
        top = Path(files.folder).parts[0]
        # Renaming is atomic; it fails if another process has already put the folder there.
        with contextlib.suppress(OSError):
            Path(temporary, top).rename(kept / top)
    return tensors


def unpacked_root(files: RawFiles, root: Path, cache: Path) -> Path:
    """The folder that holds the unpacked files: a folder of the cache, or `root` by default."""
    for folder in _roots(files, root, cache):
        if _is_unpacked(files, folder):
            return folder
    return root


def _download(
    name: str, source: Source, files: RawFiles, root: Path, cache: Path
) -> tuple[torch.Tensor, ...]:
    """Download through torchvision, which checks the files and keeps those that are complete.

    Raises DownloadFailed, or UserError if the disk is full or read-only.
    """
    from filelock import FileLock

    make_folder(cache)
    with FileLock(cache / "download.lock"):  # two sweeps must not write the same files at once
        tensors = _read_present(source, files, root, cache)
        if tensors is not None:
            return tensors
        folder = root
        if not _is_writable(root / files.archive_folder):
            folder = _roots(files, root, cache)[1]
        print(f"downloading {name} into {folder}", file=sys.stderr)
        try:
            with removed_if_empty(folder):
                return _downloaded(name, source, files, folder)
        except (*DOWNLOAD_ERRORS, *UNPACK_ERRORS) as error:
            if is_without_room(error):  # a full disk is not a failed download
                raise unwritable(folder, error) from None
            raise DownloadFailed(" ".join(str(error).split()) or type(error).__name__) from error


def _downloaded(name: str, source: Source, files: RawFiles, root: Path) -> tuple[torch.Tensor, ...]:
    """Download into a folder of its own below `root`, and move what is complete to its place.

    So an interruption leaves no half file. Archives that are there already are not downloaded
    again, and those that have been unpacked are kept for the next try if another one fails.
    """
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".download-", dir=root) as temporary:
        new = Path(temporary)
        (new / files.archive_folder).mkdir(parents=True, exist_ok=True)
        for archive in files.archives:
            with contextlib.suppress(FileNotFoundError):
                place = Path(files.archive_folder, archive)
                shutil.copyfile(root / place, new / place)
        kept: list[Path] = []
        try:
            with (
                announced(f"downloading {name}", lambda: _size_below(new)),
                socket_timeout(DOWNLOAD_TIMEOUT),
                # torchvision draws a progress bar for each file
                contextlib.redirect_stderr(io.StringIO()),
            ):
                tensors = source.read(str(new), download=True)
            kept = [Path(files.archive_folder, archive) for archive in files.archives]
            kept += [Path(files.folder, unpacked) for unpacked in files.unpacked]
        except BaseException:
            # torchvision unpacks an archive once it has checked it.
            kept = [
                Path(files.archive_folder, f"{unpacked}.gz")
                for unpacked, size in files.unpacked.items()
                if size is not None and _has_size(new / files.folder / unpacked, size)
            ]
            raise
        finally:
            for place in kept:
                if (new / place).is_file():
                    (root / place).parent.mkdir(parents=True, exist_ok=True)
                    (new / place).replace(root / place)
    return tensors


def _has_size(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


def _size_below(folder: Path) -> str:
    """The size of all files in a folder that other code is filling, for people."""
    return byte_size(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()))


def _is_writable(folder: Path) -> bool:
    """Whether files can be created in `folder`, which need not exist yet."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    # A folder without write permission is left alone even by root, who could write to it anyway.
    has_write_bit = folder.is_dir() and folder.stat().st_mode & 0o222
    return bool(has_write_bit) and os.access(folder, os.W_OK | os.X_OK)


@contextlib.contextmanager
def socket_timeout(seconds: float) -> Iterator[None]:
    """Set the default timeout of new connections to `seconds` without a byte, in this block."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def missing_files(name: str, files: RawFiles, root: Path, reason: str) -> str:
    """The error message for a failed download without a fallback."""
    archives = "\n".join(f"    {archive}" for archive in files.archives)
    return (
        f"the data {name} are not in {root} and could not be downloaded: {reason}\n"
        f"  Put these files into {root / files.archive_folder}:\n{archives}\n"
        f"  or say where they are: data.root=FOLDER or LRSEARCH_DATA=FOLDER\n"
        f"  or take the small data that come with scikit-learn: data.fallback=digits"
    )
