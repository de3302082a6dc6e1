"""Gets raw files where torchvision can read them, without touching files it does not own."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

from lrsearch.data.sources import Source
from lrsearch.errors import LrsearchError

_TIMEOUT_SECONDS = 30


class NotAvailable(LrsearchError):
    """The raw files are not on disk and cannot be downloaded."""


def readable_root(source: Source, name: str, root: Path, cache: Path) -> Path:
    """A root from which torchvision reads `source`: `root`, or a folder of the cache.

    Extracted files are read in place. Archives are linked into the cache and extracted there. What
    is missing is downloaded into `root`, which keeps what is complete. Raises NotAvailable.
    """
    import torchvision

    dataset = getattr(torchvision.datasets, str(source.torchvision))
    if _is_extracted(dataset, root):
        return root
    archives = [Path(file) for file in source.files]
    if all((root / file).exists() for file in archives) or not _is_writable(root):
        linked = cache / "raw" / name
        for file in archives:
            _link(root / file, linked / file)
        root = linked
    if not _is_extracted(dataset, root):
        if not all((root / file).exists() for file in archives):
            print(f"downloading {name} into {root} ...", file=sys.stderr)
        try:
            with _patience(), contextlib.redirect_stdout(sys.stderr):
                dataset(str(root), download=True)
        except (OSError, RuntimeError) as error:
            raise NotAvailable(str(error).splitlines()[0]) from None
    return root


def _is_extracted(dataset: type, root: Path) -> bool:
    try:
        dataset(str(root), download=False)
    except RuntimeError:
        return False
    return True


def _is_writable(root: Path) -> bool:
    existing = next(folder for folder in (root, *root.absolute().parents) if folder.exists())
    return os.access(existing, os.W_OK)


def _link(file: Path, link: Path) -> None:
    link.parent.mkdir(parents=True, exist_ok=True)
    if file.exists() and not link.exists():
        with contextlib.suppress(FileExistsError):  # another process was first
            link.symlink_to(file.resolve())


@contextlib.contextmanager
def _patience() -> Iterator[None]:
    """A server that does not answer is given up: torchvision itself would wait for ever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_TIMEOUT_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
