"""Files at names that others can foresee: no planted link is followed."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from lrsearch.files import new_file, write_whole


def write_new(path: Path, text: str) -> None:
    with new_file(path) as file:
        file.write(text.encode())


WAYS = [write_whole, write_new]


@pytest.mark.parametrize("write", WAYS)
@pytest.mark.parametrize("there", [None, "older", "dangling"])
def test_a_link_is_replaced_and_what_it_names_is_left_alone(
    tmp_path: Path, write: Callable[[Path, str], None], there: str | None
) -> None:
    path, victim = tmp_path / "made" / "best.yaml", tmp_path / "victim"
    if there is not None:
        path.parent.mkdir()
        path.symlink_to(victim)
        if there == "older":
            victim.write_text("precious")
    write(path, "größer\n")
    assert path.read_text(encoding="utf-8") == "größer\n"
    assert not path.is_symlink()
    assert victim.exists() == (there == "older")
    if there == "older":
        assert victim.read_text() == "precious"


@pytest.mark.parametrize("write", WAYS)
def test_an_older_file_is_replaced(tmp_path: Path, write: Callable[[Path, str], None]) -> None:
    path = tmp_path / "trials.csv"
    path.write_text("older and longer")
    write(path, "new")
    assert path.read_text() == "new"
    assert [one.name for one in tmp_path.iterdir()] == ["trials.csv"]


def test_a_full_disk_leaves_the_older_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "best.yaml"
    write_whole(path, "older")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(path, "newer")
    assert path.read_text() == "older"
    assert [one.name for one in tmp_path.iterdir()] == ["best.yaml"]


def test_text_is_written_without_secrets_and_bytes_as_they_are(tmp_path: Path) -> None:
    url = "postgresql://me:hunter2@host/db"
    write_whole(tmp_path / "text", url)
    write_whole(tmp_path / "bytes", url.encode())
    assert (tmp_path / "text").read_text() == "postgresql://me:***@host/db"
    assert (tmp_path / "bytes").read_text() == url


def test_what_cannot_be_written_leaves_the_older_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "best.yaml"
    path.write_text("older")
    with pytest.raises(UnicodeEncodeError):
        write_whole(path, "a lone surrogate: \udc00")
    assert path.read_text() == "older"
    assert [one.name for one in tmp_path.iterdir()] == ["best.yaml"]
