"""The command that writes the report, on a study that has really been run."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lrsearch.entry.main import main

pytest.importorskip("plotly")

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a small sweep has been run."""
    folder = tmp_path_factory.mktemp("swept")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("STORAGE", "CHECKPOINTS", "DATA", "CACHE"):
            patch.delenv(f"LRSEARCH_{name}", raising=False)
        patch.setenv("LRSEARCH_CACHE", str(folder / "cache"))
        patch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[2]))
        subprocess.run(
            [sys.executable, "-m", "lrsearch", "+sweep=digits", "study.n_trials=6",
             "train.epochs=2", "workers=1"],
            cwd=folder, check=True, capture_output=True,
        )  # fmt: skip
    return folder


@pytest.fixture
def command(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """Runs a command in this process, where the sweep was run: exit code, output, errors."""
    for name in ("STORAGE", "CHECKPOINTS", "DATA", "CACHE"):
        monkeypatch.delenv(f"LRSEARCH_{name}", raising=False)
    monkeypatch.setenv("LRSEARCH_CACHE", str(folder / "cache"))
    monkeypatch.chdir(folder)

    def run(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run


def test_the_report_lies_beside_the_results(command: Command, folder: Path) -> None:
    code, out, _ = command("report", "digits")
    assert code == 0
    assert "outputs/digits/report.html" in out
    page = (folder / "outputs" / "digits" / "report.html").read_text()
    assert "6 of 6" in page
    assert "python -m lrsearch train outputs/digits/best.yaml" in page


def test_the_folder_or_the_file_may_be_given(command: Command, tmp_path: Path) -> None:
    assert command("report", "digits", f"output_dir={tmp_path}")[0] == 0
    assert (tmp_path / "digits" / "report.html").is_file()
    file = tmp_path / "deep" / "mine.html"
    assert command("report", "digits", "--output", str(file))[0] == 0
    assert [one.name for one in file.parent.iterdir()] == ["mine.html"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "name one study; there: digits"),
        (("digits", "mnist"), "name one study"),
        (("digist",), "no study 'digist'"),
        (("digits", "storage.url=sqlite:///typo.db"), "there is no database"),
        (("digits", "storage.ulr=sqlite:///x.db"), "did you mean storage.url"),
        (("digits", "--output", "/proc/no/report.html"), "give --output FILE"),
    ],
)
def test_bad_input_is_told_and_nothing_is_written(
    command: Command, arguments: tuple[str, ...], said: str
) -> None:
    code, _, error = command("report", *arguments)
    assert code == 2
    assert said in error


def test_a_password_reaches_no_report(
    command: Command, new_database: Callable[[], str], tmp_path: Path
) -> None:
    url = new_database()
    assert command("submit", "+sweep=digits", f"storage.url={url}")[0] == 0
    file = tmp_path / "report.html"
    assert command("report", "digits", f"storage.url={url}", "--output", str(file))[0] == 0
    assert "hunter2" not in file.read_text()
