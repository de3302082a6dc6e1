"""What takes long says what it is and how far it is, until it ends or is interrupted."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch.utils.data import Dataset

from lrsearch.data import cache, progress
from lrsearch.data.own import sampled
from lrsearch.data.progress import announced
from lrsearch.data.spec import DataSpec

SPEC = DataSpec("mypkg.load", target="mypkg.load")
ENOUGH = 20.0
"""Seconds after which a line that has not come will not come."""


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "INTERVAL", 0.001)


class Terminal:
    """A stream that says when a line has come."""

    def __init__(self, wanted: str) -> None:
        self.lines: list[str] = []
        self.wanted, self.has_come = wanted, threading.Event()

    def write(self, text: str) -> None:
        self.lines += [text] if text.strip() else []
        if self.wanted in text:
            self.has_come.set()

    def flush(self) -> None:
        pass


@contextlib.contextmanager
def opened(wanted: str = "") -> Iterator[Terminal]:
    """A terminal that is the standard error in the block."""
    terminal = Terminal(wanted)
    with contextlib.redirect_stderr(cast("Any", terminal)):
        yield terminal


def test_lines_come_until_the_block_ends() -> None:
    wanted = "reading the data: 7 of 9 items, 0."
    with opened(wanted) as terminal, announced("reading the data", lambda: "7 of 9 items"):
        assert terminal.has_come.wait(ENOUGH)
    count = len(terminal.lines)
    assert not any(thread.name == "progress of data" for thread in threading.enumerate())
    assert len(terminal.lines) == count


def test_what_cannot_be_counted_yet_breaks_nothing() -> None:
    calls = threading.Semaphore(0)

    def missing() -> str:
        calls.release()
        raise FileNotFoundError("it is being moved")

    with opened() as terminal, announced("downloading", missing):
        assert calls.acquire(timeout=ENOUGH)
        assert calls.acquire(timeout=ENOUGH)
    assert terminal.lines == []


class Waiting(Dataset[Any]):
    """Its last item comes once the wanted line has; or Ctrl-C is pressed then."""

    def __init__(self, terminal: Terminal, interrupt: bool = False) -> None:
        self.terminal, self.interrupt = terminal, interrupt

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Any:
        if index == 3:
            assert self.terminal.has_come.wait(ENOUGH)
            if self.interrupt:
                raise KeyboardInterrupt
        return torch.zeros(2), index


def test_items_are_counted() -> None:
    with opened("reading Waiting, train part: 3 of 4 items, ") as terminal:
        x, _ = sampled(SPEC, Waiting(terminal), range(4), "train")
    assert len(x) == 4


def test_an_interruption_between_items_ends_it() -> None:
    with opened("3 of 4 items") as terminal, pytest.raises(KeyboardInterrupt):
        sampled(SPEC, Waiting(terminal, interrupt=True), range(4), "train")


def test_an_interrupted_writing_of_the_cache_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the second of many chunks, which torch would turn into an error of its own."""
    tensors = {"train_x": torch.arange(1000)}
    fingerprint = cache.fingerprint_of(tensors)
    monkeypatch.setattr(cache, "_CHUNK", 512)
    chunks: list[int] = []

    class Interrupted(cache._Chunked):
        @property
        def written(self) -> int:
            return sum(chunks)

        @written.setter
        def written(self, total: int) -> None:
            chunks.append(total - sum(chunks))
            if len(chunks) == 5:
                raise KeyboardInterrupt

    monkeypatch.setattr(cache, "_Chunked", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        cache.save_tensors(tmp_path / "cache" / "data.pt", tensors, fingerprint)
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_fingerprint_does_not_depend_on_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    tensors = {"x": torch.randn(100, 3), "none": torch.empty(0), "y": torch.tensor(True)}
    whole = cache.fingerprint_of(tensors)
    monkeypatch.setattr(cache, "_CHUNK", 7)
    assert cache.fingerprint_of(tensors) == whole
