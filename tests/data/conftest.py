"""What the tests of the data share: raw files, small and real; mirrors, up and down."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import http.server
import os
import socket
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from lrsearch.data.sources import SOURCES

REPO = Path(__file__).resolve().parent.parent.parent
assert SOURCES["mnist"].files is not None
ARCHIVES = [f"{name}.gz" for name in SOURCES["mnist"].files.unpacked]
N_POOL, N_VALIDATION, N_TEST = 60, 10, 20


def idx(values: torch.Tensor) -> bytes:
    """Bytes in the format of the MNIST files."""
    head = (2048 + values.dim()).to_bytes(4, "big")
    return head + b"".join(n.to_bytes(4, "big") for n in values.shape) + values.numpy().tobytes()


@pytest.fixture
def tiny_mnist(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Writes the four archives of an MNIST of 60 and 20 images below a root.

    The registry and torchvision take them for the whole of MNIST.
    """

    from torchvision.datasets import MNIST

    def write(root: Path, seed: int = 0) -> Path:
        generator = torch.Generator().manual_seed(seed)
        folder = root / "MNIST" / "raw"
        folder.mkdir(parents=True)
        sizes, resources = {}, []
        for archive in ARCHIVES:
            n = N_POOL if archive.startswith("train") else N_TEST
            shape, high = ((n, 28, 28), 256) if "images" in archive else ((n,), 10)
            values = torch.randint(0, high, shape, generator=generator).to(torch.uint8)
            if "labels" in archive:
                values[:10] = torch.arange(10)
            packed = gzip.compress(idx(values), mtime=0)
            (folder / archive).write_bytes(packed)
            sizes[archive.removesuffix(".gz")] = len(idx(values))
            resources.append((archive, hashlib.md5(packed).hexdigest()))
        source = SOURCES["mnist"]
        assert source.files is not None
        files = dataclasses.replace(source.files, unpacked=sizes)
        changed = dataclasses.replace(source, files=files, validation=N_VALIDATION)
        monkeypatch.setitem(SOURCES.components, "mnist", changed)
        monkeypatch.setattr(MNIST, "resources", resources)
        return root

    return write


@pytest.fixture
def no_mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Mirrors behind a port on which nobody listens: the network is down."""
    from torchvision.datasets import MNIST

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        monkeypatch.setattr(MNIST, "mirrors", [f"http://127.0.0.1:{taken.getsockname()[1]}/"])
        yield


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder and notes, without a word, what is asked for."""

    requested: set[str]

    def do_GET(self) -> None:
        self.requested.add(self.path.removeprefix("/"))
        super().do_GET()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path], set[str]]]:
    """Serves the archives of a root as the only mirror; returns the set of requested files."""
    from torchvision.datasets import MNIST

    servers: list[http.server.ThreadingHTTPServer] = []

    def serve(root: Path) -> set[str]:
        requested: set[str] = set()
        handler = type("Noting", (Handler,), {"requested": requested})
        folder = partial(handler, directory=str(root / "MNIST" / "raw"))
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), folder)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        monkeypatch.setattr(MNIST, "mirrors", [f"http://127.0.0.1:{server.server_port}/"])
        return requested

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="session")
def mnist_root() -> Path:
    """The root of the real archives; they are only read."""
    root = Path(os.environ.get("LRSEARCH_DATA", REPO.parent / "shared" / "data"))
    if not all((root / "MNIST" / "raw" / name).is_file() for name in ARCHIVES):
        pytest.skip(f"the archives of MNIST are not in {root}: set LRSEARCH_DATA")
    return root


Listing = dict[str, tuple[int, int]]


@pytest.fixture(scope="session")
def listing() -> Callable[[Path], Listing]:
    """Everything below a folder with its size and time of change."""

    def look(folder: Path) -> Listing:
        return {
            str(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime_ns)
            for path in [folder, *folder.rglob("*")]
        }

    return look
