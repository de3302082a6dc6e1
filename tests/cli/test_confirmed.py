"""A confirmed study as a user sees it: at the end of its run, in every command, in the report."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml
from command_line import Command, run_sweep

from lrsearch.analysis.confirmed import range_words
from lrsearch.analysis.study_data import StudyData, read_study
from lrsearch.storage.database import Database

pytestmark = pytest.mark.slow  # a whole sweep; what it is made of has tests of its own

CONFIRM = ("+sweep=digits", "study.n_trials=6", "train.epochs=3", "pruner=none", "workers=2",
           "confirm.top=3", "confirm.seeds=2")  # fmt: skip


@pytest.fixture(scope="module")
def confirmed_folder(
    sweep_folder: Path, environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The swept study again, confirmed now; with what was printed."""
    folder = tmp_path_factory.mktemp("confirmed")
    shutil.copytree(sweep_folder, folder, dirs_exist_ok=True)
    return run_sweep(folder, environment, *CONFIRM)


@pytest.fixture
def confirmed(confirmed_folder: Path, tmp_path: Path, command: Command) -> Path:
    """A copy of it, as the working directory."""
    shutil.copytree(confirmed_folder, tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.fixture
def study(confirmed: Path) -> StudyData:
    database = Database("sqlite:///lrsearch.db")
    found = read_study(database, "digits")
    database.close()
    return found


def mean_of(study: StudyData) -> str:
    """The winner's mean with the digits that its interval allows."""
    assert study.confirmation is not None
    assert study.confirmation.winner is not None
    found = study.confirmation.winner.estimate
    assert found is not None
    return range_words(found.mean, found.low, found.high)[0]


def test_a_finished_study_is_confirmed_by_running_it_again_and_its_trials_stay(
    confirmed: Path, study: StudyData
) -> None:
    printed = (confirmed / "printed.txt").read_text()
    assert "goes on at 6 of 6 trials" in printed
    assert "[confirm 6/6] trial" in printed
    assert "[test 1/1] trial" in printed
    assert f"confirmed: val_loss {mean_of(study)} (95 % interval" in printed
    assert "Found in the search" in printed
    assert "On the test part: test_loss" in printed
    assert (study.total, study.done, study.shown_state) == (6, 6, "done")


def test_best_says_what_is_confirmed_and_what_was_luck(
    command: Command, confirmed: Path, study: StudyData
) -> None:
    code, out, _ = command("best", "digits")
    assert code == 0
    assert f"trial {study.ranked[0].number}, the confirmed best: val_loss {mean_of(study)}" in out
    for words in ("Found in the search", "luck in ",
                  "test_accuracy", "with probability"):  # fmt: skip
        assert words in out


def test_the_record_has_the_confirmation_and_still_trains_to_the_last_bit(
    command: Command, confirmed: Path, study: StudyData
) -> None:
    record = yaml.safe_load((confirmed / "outputs/digits/best.yaml").read_text())
    assert json.loads(command("best", "digits", "--json")[1]) == record
    found = record["confirmed"]
    low, high = found["interval"]
    assert low < found["mean"] < high
    assert found["mean"] == pytest.approx(sum(found["values"].values()) / 2, rel=1e-12)
    assert 0 < found["probability_best"] <= 1
    assert found["found_in_search"] == record["value"]
    assert found["interval_over"] == ["training seeds", "360 validation samples"]
    scores = {"test_loss", "test_accuracy"}
    assert {*scores, "intervals", "runs", "times_opened"} == set(found["test"])
    for name in scores:
        interval = found["test"]["intervals"][name]
        assert interval["over"] == ["training seeds", "359 test samples"]
        assert interval["interval"][0] <= found["test"][name] <= interval["interval"][1]
    assert "equal to the last bit" in command("train", "digits")[1]


def test_another_trial_has_no_confirmation_in_its_record(
    command: Command, confirmed: Path, study: StudyData
) -> None:
    other = study.ranked[-1].number
    assert "confirmed" not in json.loads(
        command("best", "digits", "--trial", str(other), "--json")[1]
    )
    assert "confirmed" not in command("best", "digits", "--trial", str(other))[1]


def test_status_tells_the_confirmed_best(
    command: Command, confirmed: Path, study: StudyData
) -> None:
    out = command("status", "digits")[1]
    assert "done     6/6 done, 0 running, 0 open; 7/7 auxiliary runs done" in out
    assert f"confirmed best: trial {study.ranked[0].number}, val_loss {mean_of(study)}" in out
    plain = json.loads(command("status", "digits", "--json")[1])
    assert plain["side_runs"] == {"open": 0, "running": 0, "done": 7}
    assert study.confirmation is not None
    assert plain["confirmed"] == study.confirmation.to_json()


def test_a_confirmation_that_waits_for_a_worker_is_told(command: Command, swept: Path) -> None:
    code, out, _ = command("submit", *CONFIRM)
    assert code == 0
    assert "6 auxiliary runs wait for workers" in out
    out = command("status", "digits")[1]
    assert "confirming the best 3: 0 of 6 runs" in out
    assert "6 auxiliary runs wait, no worker is at it" in out
    assert json.loads(command("status", "digits", "--json")[1])["state"] == "open"
    assert "not confirmed yet" in command("best", "digits")[1]


def test_the_report_begins_with_what_is_confirmed(
    command: Command, confirmed: Path, study: StudyData
) -> None:
    pytest.importorskip("plotly")
    assert command("report", "digits")[0] == 0
    page = (confirmed / "outputs/digits/report.html").read_text()
    page = page.replace("\N{NO-BREAK SPACE}", " ")
    assert "confirmed val_loss</dt>" in page
    assert f"with val_loss {mean_of(study)} (95 % interval" in page
    assert 'id="lrsearch-confirmed"' in page
    assert "probability of being best" in page
    assert "confirm.top=3" not in page.partition("The resolved configuration")[0]


def test_where_nothing_was_confirmed_the_report_says_how(command: Command, swept: Path) -> None:
    pytest.importorskip("plotly")
    assert command("report", "digits")[0] == 0
    page = (swept / "outputs/digits/report.html").read_text()
    assert "run the same command again with confirm.top=3" in page
    assert 'id="lrsearch-confirmed"' not in page
