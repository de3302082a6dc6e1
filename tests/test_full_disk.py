"""A full or read-only disk: said in words, nothing half-written left, and nothing found lost."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from command_line import Command, Run

from lrsearch.cli.main import main

SWEEP = ("+sweep=digits", "study.n_trials=6", "train.epochs=3", "pruner=none", "workers=2")
"""That of `sweep_folder`."""
FULL = Path("/dev/full")


@pytest.fixture
def swept(sweep_folder: Path, tmp_path: Path) -> Path:
    """A copy of the finished sweep's database, in the test's folder."""
    shutil.copy(sweep_folder / "lrsearch.db", tmp_path)
    return tmp_path


@pytest.fixture
def full_disk() -> Iterator[pytest.MonkeyPatch]:
    """A disk that has room for names but for no content, until `undo`."""

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", full)
        yield patch


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()} - {
        "lrsearch.db", "lrsearch.db-wal", "lrsearch.db-shm",
    }  # fmt: skip


def test_a_sweep_whose_files_cannot_be_written_says_what_it_has_found(
    swept: Path, command: Command, full_disk: pytest.MonkeyPatch
) -> None:
    code, out, _ = command(*SWEEP)
    assert code == 1
    assert "best trial" in out
    assert "trials.csv: No space left on device" in out
    assert "python -m lrsearch best digits" in out
    assert files(swept) == set()
    code, best, _ = command("best", "digits")
    assert code == 0
    assert "the best: val_loss" in best
    full_disk.undo()
    assert command(*SWEEP)[0] == 0
    assert files(swept) == {"best.yaml", "best.py", "trials.csv"}


@pytest.mark.parametrize(
    "arguments",
    [
        ("export", "digits", "--format", "csv"),
        ("export", "digits", "--format", "json", "--output", "study.json"),
        ("report", "digits"),
        ("preview", "scheduler=cosine", "--output", "rates.png"),
    ],
)
def test_a_command_says_in_words_that_it_cannot_write(
    swept: Path, command: Command, full_disk: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    code, _, error = command(*arguments)
    full_disk.undo()
    assert code == 2
    assert "No space left on device" in error
    assert files(swept) == set()


@pytest.mark.skipif(not FULL.exists(), reason="no /dev/full on this system")
def test_an_output_that_cannot_be_written_is_an_error_in_words(
    swept: Path,
    command: Command,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command("--version")  # in the folder and the environment of a command
    with FULL.open("w") as full, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", full)
        with pytest.raises(SystemExit) as ended:
            main(["best", "digits", "--format", "yaml"])
    assert ended.value.code == 1
    said = capsys.readouterr().err
    assert "error: cannot write the output: No space left on device" in said
    assert "Traceback" not in said


@pytest.mark.skipif(not FULL.exists(), reason="no /dev/full on this system")
def test_a_worker_works_on_though_its_log_is_full(
    swept: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    command("--version")
    with FULL.open("w") as full, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", full)
        patch.setattr(sys, "stderr", full)
        with pytest.raises(SystemExit) as ended:
            main(["worker", "--sweep", "digits", "--until-empty"])
        patch.undo()
        os.dup2(os.open(os.devnull, os.O_WRONLY), full.fileno())
    assert not ended.value.code


@pytest.mark.slow
def test_a_sweep_is_completed_without_logs_and_files(lrsearch: Run, tmp_path: Path) -> None:
    outputs = tmp_path / "outputs" / "digits"
    outputs.mkdir(parents=True)
    (outputs / "logs").write_text("no folder")
    (outputs / "trials.csv").mkdir()
    done = lrsearch("+sweep=digits", "study.n_trials=3", "train.epochs=1", "workers=1")
    assert done.returncode == 1, done.stderr
    assert "the workers go on without logs" in done.stdout
    assert "3 trials (3 completed)" in done.stdout
    assert f"cannot write {Path('outputs/digits/trials.csv')}: Is a directory" in done.stdout
    assert "the best: val_loss" in lrsearch("best", "digits").stdout
    assert [path for path in outputs.rglob("*") if path.name.startswith(".")] == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real disk of 3 MB, which only root can mount."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "lrsearch-test", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("only root can mount a small disk")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_what_a_search_has_found_is_told_while_the_databases_own_disk_is_full(
    sweep_folder: Path, small_disk: Path, command: Command
) -> None:
    with closing(sqlite3.connect(sweep_folder / "lrsearch.db")) as original:
        original.execute(f"VACUUM INTO '{small_disk / 'found.db'}'")
    with closing(sqlite3.connect(small_disk / "found.db")) as copy:
        copy.execute("PRAGMA journal_mode=WAL")
    with contextlib.suppress(OSError), (small_disk / "filler").open("wb", buffering=0) as filler:
        while filler.write(bytes(4096)) == 4096:
            pass
    place = f"storage.url=sqlite:///{small_disk / 'found.db'}"
    for words in (("best", "digits"), ("status",), ("show", "digits", "1")):
        code, out, error = command(*words, place)
        assert (code, error) == (0, "")
        assert "digits" in out or "trial 1" in out
