"""Raw files: where they are read, when they are downloaded, and that a root is left alone."""

from __future__ import annotations

import contextlib
import errno
import gzip
import hashlib
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from lrsearch.data.raw import (
    DownloadFailed,
    missing_files,
    raw_files,
    read_raw,
    socket_timeout,
    unpacked_root,
)
from lrsearch.data.sources import SOURCES, RawFiles
from lrsearch.errors import UserError

Tiny = Callable[..., Path]
Mirror = Callable[[Path], set[str]]
Listing = Callable[[Path], dict[str, tuple[int, int]]]
SHAPES = [(60, 1, 28, 28), (60,), (20, 1, 28, 28), (20,)]
RAW = Path("MNIST", "raw")
assert SOURCES["mnist"].files is not None
FILES = list(SOURCES["mnist"].files.unpacked)


def read(root: Path, cache: Path) -> tuple[torch.Tensor, ...]:
    return read_raw("mnist", SOURCES["mnist"], root, cache)


def files() -> RawFiles:
    found = SOURCES["mnist"].files
    assert found is not None
    return found


def shapes(tensors: tuple[torch.Tensor, ...]) -> list[tuple[int, ...]]:
    return [tuple(one.shape) for one in tensors]


def unpack(root: Path) -> None:
    """Replaces the archives by what is in them."""
    for archive in (root / RAW).glob("*.gz"):
        archive.with_suffix("").write_bytes(gzip.decompress(archive.read_bytes()))
        archive.unlink()


def same(one: tuple[torch.Tensor, ...], other: tuple[torch.Tensor, ...]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.usefixtures("no_mirror")
def test_a_root_with_archives_only_is_read_and_left_as_it_is(
    tiny_mnist: Tiny, listing: Listing, tmp_path: Path
) -> None:
    root = tiny_mnist(tmp_path / "root")
    before = listing(root)
    assert shapes(read(root, tmp_path / "cache")) == SHAPES
    assert listing(root) == before
    assert unpacked_root(files(), root, tmp_path / "cache").parent == tmp_path / "cache" / "raw"


@pytest.mark.usefixtures("no_mirror")
def test_unpacked_files_are_read_in_place(
    tiny_mnist: Tiny, listing: Listing, tmp_path: Path
) -> None:
    root = tiny_mnist(tmp_path / "root")
    wanted = read(root, tmp_path / "first")
    unpack(root)
    before = listing(root)
    assert same(read(root, tmp_path / "cache"), wanted)
    assert listing(root) == before
    assert not (tmp_path / "cache").exists()
    assert unpacked_root(files(), root, tmp_path / "cache") == root


@pytest.mark.usefixtures("no_mirror")
def test_archives_are_unpacked_once_and_nothing_else_stays_in_the_cache(
    tiny_mnist: Tiny, listing: Listing, tmp_path: Path
) -> None:
    root, cache = tiny_mnist(tmp_path / "root"), tmp_path / "cache"
    first = read(root, cache)
    before = listing(cache)
    assert sorted(path.name for path in cache.iterdir()) == ["raw"]
    assert same(read(root, cache), first)
    assert listing(cache) == before


@pytest.mark.usefixtures("no_mirror")
def test_a_cut_off_archive_without_network_is_refused(tiny_mnist: Tiny, tmp_path: Path) -> None:
    root = tiny_mnist(tmp_path / "root")
    archive = root / RAW / f"{FILES[0]}.gz"
    archive.write_bytes(archive.read_bytes()[:-1000])
    with pytest.raises(DownloadFailed, match=FILES[0]):
        read(root, tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("raw/MNIST")), "a part of the data was kept"


def test_a_cut_off_archive_is_downloaded_again(
    tiny_mnist: Tiny, mirror: Mirror, tmp_path: Path
) -> None:
    root = tiny_mnist(tmp_path / "root")
    wanted = read(root, tmp_path / "first")
    requested = mirror(shutil.copytree(root, tmp_path / "served"))
    archive = root / RAW / f"{FILES[0]}.gz"
    archive.write_bytes(archive.read_bytes()[:-1000])
    assert same(read(root, tmp_path / "cache"), wanted)
    assert requested == {f"{FILES[0]}.gz"}


@pytest.mark.usefixtures("no_mirror")
def test_a_cut_off_unpacked_file_is_not_read_when_the_archives_are_there(
    tiny_mnist: Tiny, tmp_path: Path
) -> None:
    root = tiny_mnist(tmp_path / "root")
    for name in FILES:
        packed = (root / RAW / f"{name}.gz").read_bytes()
        (root / RAW / name).write_bytes(gzip.decompress(packed)[:-5])
    assert shapes(read(root, tmp_path / "cache")) == SHAPES


@pytest.mark.usefixtures("no_mirror")
def test_unpacked_files_full_of_zeros_are_called_damaged(tiny_mnist: Tiny, tmp_path: Path) -> None:
    root = tiny_mnist(tmp_path / "root")
    unpack(root)
    for name in FILES:
        path = root / RAW / name
        path.write_bytes(bytes(path.stat().st_size))
    with pytest.raises(UserError, match=r"are damaged.*delete them"):
        read(root, tmp_path / "cache")


@pytest.mark.usefixtures("no_mirror")
def test_unpacked_files_of_another_shape_are_called_damaged(
    tiny_mnist: Tiny, tmp_path: Path
) -> None:
    root = tiny_mnist(tmp_path / "root")
    unpack(root)
    labels = root / RAW / FILES[1]
    content = bytearray(labels.read_bytes())
    content[7] += 1  # one label more than there are
    labels.write_bytes(content)
    with pytest.raises(UserError, match=r"are damaged.*delete them") as caught:
        read(root, tmp_path / "cache")
    assert str(root / RAW) in str(caught.value)


@pytest.mark.usefixtures("no_mirror")
def test_damaged_files_that_were_unpacked_into_the_cache_are_made_anew(
    tiny_mnist: Tiny, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root, cache = tiny_mnist(tmp_path / "root"), tmp_path / "cache"
    wanted = read(root, cache)
    labels = unpacked_root(files(), root, cache) / RAW / FILES[1]
    labels.write_bytes(bytes(labels.stat().st_size))
    assert same(read(root, cache), wanted)
    assert f"the files in {labels.parent} are damaged" in caplog.text
    assert same(read(root, cache), wanted)


@pytest.mark.usefixtures("no_mirror")
def test_a_full_disk_is_not_taken_for_a_damaged_archive(
    tiny_mnist: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    root = tiny_mnist(tmp_path / "root")
    monkeypatch.setattr("torchvision.datasets.utils.extract_archive", full)
    with pytest.raises(UserError, match=r"data\.cache: cannot write .*No space left"):
        read(root, tmp_path / "cache")
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


@pytest.mark.usefixtures("no_mirror")
def test_other_archives_in_another_root_are_read_though_the_cache_has_unpacked_files(
    tiny_mnist: Tiny, tmp_path: Path
) -> None:
    first, second = (tiny_mnist(tmp_path / f"root{seed}", seed=seed) for seed in (1, 2))
    wanted = read(second, tmp_path / "own")
    read(first, tmp_path / "cache")
    assert same(read(second, tmp_path / "cache"), wanted)


def test_a_download_goes_into_the_root(tiny_mnist: Tiny, mirror: Mirror, tmp_path: Path) -> None:
    requested = mirror(tiny_mnist(tmp_path / "served"))
    root = tmp_path / "new" / "root"
    assert shapes(read(root, tmp_path / "cache")) == SHAPES
    assert requested == {f"{name}.gz" for name in FILES}
    assert all((root / RAW / name).is_file() for name in FILES)


def test_a_read_only_root_is_left_and_the_download_goes_into_the_cache(
    tiny_mnist: Tiny, mirror: Mirror, listing: Listing, tmp_path: Path
) -> None:
    requested = mirror(tiny_mnist(tmp_path / "served"))
    root = tmp_path / "root"
    root.mkdir()
    root.chmod(0o555)
    before = listing(root)
    assert shapes(read(root, tmp_path / "cache")) == SHAPES
    assert listing(root) == before
    assert requested == {f"{name}.gz" for name in FILES}
    requested.clear()
    assert shapes(read(root, tmp_path / "cache")) == SHAPES
    assert not requested, "what was downloaded is read from the cache"


def test_a_download_names_the_data_and_the_folder_and_draws_no_bars(
    tiny_mnist: Tiny, mirror: Mirror, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mirror(tiny_mnist(tmp_path / "served"))
    read(tmp_path / "root", tmp_path / "cache")
    assert capsys.readouterr().err == f"downloading mnist into {tmp_path / 'root'}\n"


def test_a_partial_download_of_mnist_resumes_with_the_missing_file_alone(
    mnist_root: Path, mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision.datasets import MNIST

    # The archives at hand may be packed in another way than torchvision's.
    sums = [
        (name, hashlib.md5((mnist_root / RAW / name).read_bytes()).hexdigest())
        for name, _ in MNIST.resources
    ]
    monkeypatch.setattr(MNIST, "resources", sums)
    requested = mirror(mnist_root)
    root = tmp_path / "root"
    (root / RAW).mkdir(parents=True)
    for name in FILES[1:]:
        shutil.copyfile(mnist_root / RAW / f"{name}.gz", root / RAW / f"{name}.gz")
    tensors = read(root, tmp_path / "cache")
    assert requested == {f"{FILES[0]}.gz"}
    assert shapes(tensors) == [(60_000, 1, 28, 28), (60_000,), (10_000, 1, 28, 28), (10_000,)]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ConnectionError])
def test_a_download_that_is_interrupted_leaves_whole_files_alone(
    tiny_mnist: Tiny,
    mirror: Mirror,
    listing: Listing,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: type[BaseException],
) -> None:
    """In the middle of the second archive: the first one is not downloaded again."""
    from torchvision.datasets import mnist, utils

    requested = mirror(tiny_mnist(tmp_path / "served"))
    root, cache = tmp_path / "root", tmp_path / "cache"
    whole = utils.download_and_extract_archive

    def broken(url: str, *, download_root: str, filename: str, **named: Any) -> None:
        if filename == f"{FILES[1]}.gz":
            Path(download_root, filename).write_bytes(b"half a f")
            raise error
        whole(url, download_root=download_root, filename=filename, **named)

    with monkeypatch.context() as patch:
        patch.setattr(mnist, "download_and_extract_archive", broken)
        with pytest.raises((KeyboardInterrupt, DownloadFailed)):
            read(root, cache)
    left = [path for path in root.rglob("*") if path.is_file()]
    assert [path.name for path in left] == [f"{FILES[0]}.gz"]
    assert [path for path in root.iterdir() if path.name != "MNIST"] == []
    requested.clear()
    assert shapes(read(root, cache)) == SHAPES
    assert requested == {f"{name}.gz" for name in FILES[1:]}


def test_a_download_with_a_wrong_checksum_is_refused(
    tiny_mnist: Tiny, mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision.datasets import MNIST

    mirror(tiny_mnist(tmp_path / "served"))
    monkeypatch.setattr(MNIST, "resources", [(name, "0" * 32) for name, _ in MNIST.resources])
    for _ in range(2):
        with pytest.raises(DownloadFailed, match="corrupted"):
            read(tmp_path / "root", tmp_path / "cache")
    assert not (tmp_path / "root").exists()


def test_the_files_at_hand_are_listed_from_the_root_and_from_the_cache(
    tiny_mnist: Tiny, tmp_path: Path
) -> None:
    root, cache = tiny_mnist(tmp_path / "root"), tmp_path / "cache"
    archives = {f"MNIST/raw/{name}.gz" for name in FILES}
    assert {path for path, _, _ in raw_files(files(), root, cache)} == archives
    read(root, cache)
    unpacked = {f"MNIST/raw/{name}" for name in FILES}
    assert {path for path, _, _ in raw_files(files(), root, cache)} == archives | unpacked


def test_connections_time_out_only_while_a_download_runs() -> None:
    before = socket.getdefaulttimeout()
    with socket_timeout(7.5):
        assert socket.getdefaulttimeout() == 7.5
    assert socket.getdefaulttimeout() == before
    with contextlib.suppress(OSError), socket_timeout(7.5):
        raise OSError
    assert socket.getdefaulttimeout() == before


def test_the_message_names_the_four_files_the_folder_and_the_ways_out() -> None:
    message = missing_files("mnist", files(), Path("/there"), "no route")
    for part in ["no route", "/there/MNIST/raw", "data.root=", "LRSEARCH_DATA=", "data.fallback="]:
        assert part in message
    assert all(f"{name}.gz" in message for name in FILES)
