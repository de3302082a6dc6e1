"""The command that writes the report, on a study that has really been run."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Command


def test_the_report_lies_beside_the_results(command: Command, swept: Path) -> None:
    code, out, _ = command("report", "digits")
    assert code == 0
    assert "outputs/digits/report.html" in out
    page = (swept / "outputs" / "digits" / "report.html").read_text()
    assert "6 of 6" in page
    assert "python -m lrsearch train outputs/digits/best.yaml" in page


def test_the_folder_or_the_file_may_be_given(command: Command, swept: Path) -> None:
    assert command("report", "digits", "output_dir=other")[0] == 0
    assert (swept / "other" / "digits" / "report.html").is_file()
    file = swept / "deep" / "mine.html"
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
@pytest.mark.usefixtures("swept")
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


def test_it_does_not_import_torch(swept: Path, environment: dict[str, str]) -> None:
    code = (
        "import sys\nfrom lrsearch.cli.main import main\n"
        "try: main(['report', 'digits', 'output_dir=light'])\n"
        "except SystemExit as ended: assert not ended.code\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=swept, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "False"
