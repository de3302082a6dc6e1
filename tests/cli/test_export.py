"""`export`: what is in the database, to the last digit."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from command_line import Command
from sqlalchemy import text

from lrsearch.analysis.study_data import read_study
from lrsearch.analysis.tables import _table
from lrsearch.storage.database import Database


def refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is not JSON")


def test_tables_have_every_trial_and_evaluation_to_the_last_bit(
    command: Command, swept: Path
) -> None:
    study = read_study(Database("sqlite:///lrsearch.db"), "digits")
    code, out, _ = command("export", "digits", "--output", "tables")
    assert code == 0
    assert out.split() == ["tables/trials.csv", "tables/epochs.csv"]
    with Path("tables/trials.csv").open() as file:
        trials = list(csv.DictReader(file))
    assert [float(row["value"]) for row in trials] == [trial.value for trial in study.trials]
    assert [float(row["lr"]) for row in trials] == [
        trial.recipe.lr for trial in study.trials if trial.recipe is not None
    ]
    with Path("tables/epochs.csv").open() as file:
        epochs = list(csv.DictReader(file))
    assert [(int(row["trial"]), float(row["val_loss"])) for row in epochs] == [
        (trial.number, point.val_loss) for trial in study.trials for point in trial.curve
    ]
    assert all(row["val_accuracy"] for row in epochs)


def test_tables_go_to_the_studys_outputs_unless_told_otherwise(
    command: Command, swept: Path
) -> None:
    assert command("export", "digits")[1].split()[0] == "outputs/digits/trials.csv"
    _, out, _ = command("export", "digits", "output_dir=other")
    assert out.split() == ["other/digits/trials.csv", "other/digits/epochs.csv"]


def test_the_table_of_trials_is_the_one_that_the_sweep_wrote(command: Command, swept: Path) -> None:
    written = Path("outputs/digits/trials.csv").read_text()
    assert len(written.splitlines()) == 7
    assert written.startswith("trial,state,outcome,value,seconds,seed,lr,")
    assert written.splitlines()[0].endswith(",reason")
    command("export", "digits")
    assert Path("outputs/digits/trials.csv").read_text() == written


def test_the_state_is_the_word_that_status_has(command: Command, swept: Path) -> None:
    def states() -> set[str]:
        asked = (("export", "digits", "--format", "json"), ("status", "digits", "--json"))
        return {json.loads(command(*arguments)[1])["state"] for arguments in asked}

    assert states() == {"done"}
    command("try", "digits", "lr=0.1")
    assert states() == {"open"}
    command("pause", "digits")
    assert states() == {"paused"}


def test_the_document_has_everything_and_only_finite_numbers(command: Command, swept: Path) -> None:
    database = Database("sqlite:///lrsearch.db")
    with database.session.begin() as session:
        session.execute(text("update lrsearch_epochs set train_loss=9e999 where step > 0"))
    code, out, error = command("export", "digits", "--format", "json")
    assert (code, error) == (0, "")
    document = json.loads(out, parse_constant=refuse)
    study = read_study(database, "digits")
    assert document["best"] == study.ranked[0].number
    for plain, trial in zip(document["trials"], study.trials, strict=True):
        assert plain["value"] == trial.value
        for one, point in zip(plain["evaluations"], trial.curve, strict=True):
            assert (one["train_loss"], one["lr_end"]) == (None, point.lr_end[0])
    assert command("export", "digits", "--format", "json", "--output", "x.json")[1] == "x.json\n"
    assert json.loads(Path("x.json").read_text()) == document


def test_what_cannot_be_written_is_an_error(command: Command, swept: Path) -> None:
    Path("file").write_text("")
    for arguments, said in (
        (("--output", "file"), "file is a file"),
        (("--format", "json", "--output", "file/x.json"), "cannot write file/x.json"),
    ):
        code, _, error = command("export", "digits", *arguments)
        assert code == 2
        assert said in error
    code, _, error = command("export", "digits", "--format", "xml")
    assert code == 2
    assert "csv" in error


@pytest.mark.parametrize(
    "text", ["=HYPERLINK(0)", "+1", "-1+2", "@SUM(1)", "\t=1", "\r=1", "＝1", "'=1", "''-1"]
)
def test_no_text_is_a_formula_to_a_spreadsheet(text: str) -> None:
    rows = [{"trial": 0, "reason": text, "lr": -0.1, "n": -3, "plain": "it's = 1", text: 2.5}]
    header, row = csv.reader(_table(rows, ["trial"]))
    text = text.replace("\r", "\n")
    assert row == ["0", f"'{text}", "-0.1", "-3", "it's = 1", "2.5"]
    assert header[-1] == f"'{text}"
