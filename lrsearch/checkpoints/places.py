"""Where files are kept: a folder, or what fsspec reaches; a file is there whole or not at all."""

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
"""How the name of a file begins that is not whole yet."""

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
"""What pip installs for a protocol."""


class Place(Protocol):
    """Files by names relative to a root, with slashes. All methods raise what the system raises."""

    def write(self, name: str, parts: Parts) -> None:
        """Makes or replaces a file; whoever reads sees the old or the new one."""

    def read(self, name: str) -> bytes:
        """A file's contents."""

    def names(self, folder: str) -> list[str]:
        """What lies directly in a folder, sorted; nothing when there is no such folder."""

    def delete(self, name: str) -> None:
        """Deletes a file, if it is there."""

    def delete_folder(self, folder: str) -> None:
        """Deletes all that is in it, if it is there."""

    def where(self, name: str) -> str:
        """The path of a file in a folder of this machine, else its URL; without a password."""


def open_place(url: str) -> Place:
    """The place that a URL means; a path is a folder.

    Raises UserError where fsspec does not know the protocol, or lacks a package for it.
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
    """A folder of this machine, or one that several machines mount."""

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
    """What fsspec reaches. An object store takes a file whole; elsewhere the checksum tells."""

    def __init__(self, system: Any, root: str, shown: str) -> None:
        self._system, self._root, self._shown = system, root.rstrip("/"), shown.rstrip("/")

    def write(self, name: str, parts: Parts) -> None:
        path, data = self._path(name), b"".join(parts)
        try:
            self._system.pipe_file(path, data)
        except FileNotFoundError:  # a system that has real folders
            self._system.makedirs(path.rpartition("/")[0], exist_ok=True)
            self._system.pipe_file(path, data)

    def read(self, name: str) -> bytes:
        return bytes(self._system.cat_file(self._path(name)))

    def names(self, folder: str) -> list[str]:
        path = self._path(folder)
        self._system.invalidate_cache()  # others write there, too
        try:
            found = self._system.ls(path, detail=False)
        except FileNotFoundError:
            return []
        paths = (str(one).rstrip("/") for one in found)
        # Some stores list the folder itself.
        return sorted(one.rpartition("/")[2] for one in paths if one.strip("/") != path.strip("/"))

    def delete(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._system.rm_file(self._path(name))

    def delete_folder(self, folder: str) -> None:
        # One by one: fsspec would take signs such as * in the name of a folder for a pattern.
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
