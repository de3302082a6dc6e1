"""Storage locations: a local folder or a URL of fsspec, where files appear whole or not at all."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import fsspec
from fsspec.implementations.local import LocalFileSystem

from lrsearch.checkpoints.format import Parts
from lrsearch.errors import UserError
from lrsearch.files import whole_file
from lrsearch.text.redaction import redacted

TEMPORARY = ".writing-"
"""Prefix of the name of a file that is still being written."""

_PACKAGES = {
    "s3": "s3fs",
    "s3a": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "az": "adlfs",
    "abfs": "adlfs",
    "abfss": "adlfs",
    "sftp": "paramiko",
    "ssh": "paramiko",
}
"""The Python package that fsspec needs for each protocol."""


class Location(Protocol):
    """A file store; names are relative to its root and use slashes.

    All methods raise the errors of the file system.
    """

    def write(self, name: str, parts: Parts) -> None:
        """Create or replace a file; readers see either the old or the new contents, never a mix."""

    def read(self, name: str) -> bytes:
        """The contents of a file."""

    def names(self, folder: str) -> list[str]:
        """The sorted names of the files and folders directly in a folder; empty without it."""

    def delete(self, name: str) -> None:
        """Delete a file if it exists."""

    def delete_folder(self, folder: str) -> None:
        """Delete a folder and all files in it, if it exists."""

    def where(self, name: str) -> str:
        """The absolute path of a file in a local folder, or its URL without a password."""


def open_location(url: str) -> Location:
    """The storage location of a URL, or of the path of a folder.

    Raises UserError if fsspec does not know the protocol or its package is not installed.
    """
    shown = redacted(url)
    try:
        system, root = fsspec.core.url_to_fs(url)
    except ImportError as error:
        package = _PACKAGES.get(url.partition("://")[0])
        advice = f"pip install {package}" if package else str(error)
        raise UserError(f"storage.checkpoints: {shown} needs another package: {advice}") from None
    except Exception as error:
        raise UserError(
            f"storage.checkpoints: {shown} cannot be used: {redacted(str(error))}"
        ) from error
    if isinstance(system, LocalFileSystem):
        return Folder(Path(root))
    return Remote(system, root, shown)


class Folder:
    """A folder of this machine, which other machines may mount as well."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def write(self, name: str, parts: Parts) -> None:
        path = self._root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path, TEMPORARY) as file:
            for part in parts:
                file.write(part)

    def read(self, name: str) -> bytes:
        return (self._root / name).read_bytes()

    def names(self, folder: str) -> list[str]:
        try:
            return sorted(path.name for path in (self._root / folder).iterdir())
        except FileNotFoundError:
            return []

    def delete(self, name: str) -> None:
        (self._root / name).unlink(missing_ok=True)

    def delete_folder(self, folder: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self._root / folder)

    def where(self, name: str) -> str:
        return str(self._root / name)


class Remote:
    """Files that fsspec reaches.

    Object stores write files atomically. On other systems a reader may see part of a file, which
    the checksum of a checkpoint reveals.
    """

    def __init__(self, system: Any, root: str, shown: str) -> None:
        self._system, self._root, self._shown = system, root.rstrip("/"), shown.rstrip("/")

    def write(self, name: str, parts: Parts) -> None:
        path, data = self._path(name), b"".join(parts)
        try:
            self._system.pipe_file(path, data)
        except FileNotFoundError:  # a file system where folders must exist first
            self._system.makedirs(path.rpartition("/")[0], exist_ok=True)
            self._system.pipe_file(path, data)

    def read(self, name: str) -> bytes:
        return bytes(self._system.cat_file(self._path(name)))

    def names(self, folder: str) -> list[str]:
        path = self._path(folder)
        self._system.invalidate_cache()  # other processes write there, too
        try:
            listed = self._system.ls(path, detail=False)
        except FileNotFoundError:
            return []
        paths = (str(entry).rstrip("/") for entry in listed)
        # Some stores list the folder itself.
        return sorted(
            entry.rpartition("/")[2] for entry in paths if entry.strip("/") != path.strip("/")
        )

    def delete(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._system.rm_file(self._path(name))

    def delete_folder(self, folder: str) -> None:
        # File by file: fsspec would read characters such as * in a folder's name as a pattern.
        for path in self._files(self._path(folder)):
            with contextlib.suppress(FileNotFoundError):
                self._system.rm_file(path)

    def where(self, name: str) -> str:
        return f"{self._shown}/{name}"

    def _files(self, path: str) -> Iterator[str]:
        self._system.invalidate_cache()
        with contextlib.suppress(FileNotFoundError):
            yield from self._system.find(path)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"
