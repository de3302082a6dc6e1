"""`best`: the recipe of a study, in every form; and `train`, which repeats it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from command_line import Command
from sqlalchemy import text
from told_sweep import ToldSweep

from lrsearch.analysis.study_data import read_study
from lrsearch.dashboard.notes import study_note
from lrsearch.storage.database import Database


@pytest.fixture
def record(swept: Path) -> dict[str, Any]:
    """What the sweep wrote at its end."""
    return dict(yaml.safe_load((swept / "outputs/digits/best.yaml").read_text()))


def test_it_says_the_recipe_the_value_and_how_to_train_it_again(
    command: Command, swept: Path, record: dict[str, Any]
) -> None:
    code, out, error = command("best", "digits")
    assert (code, error) == (0, "")
    assert f"trial {record['trial']}, the best: val_loss {record['value']:.4g}" in out
    assert f"lr={record['recipe']['lr']:.4g}" in out
    assert "python -m lrsearch train digits\n" in out


def test_yaml_json_and_python_are_what_the_sweep_wrote(
    command: Command, swept: Path, record: dict[str, Any]
) -> None:
    assert yaml.safe_load(command("best", "digits", "--format", "yaml")[1]) == record
    assert json.loads(command("best", "digits", "--json")[1]) == record
    written = (swept / "outputs/digits/best.py").read_text()
    assert command("best", "digits", "--format", "python")[1] == written


def test_another_database_is_named_in_the_commands_to_type(command: Command, swept: Path) -> None:
    (swept / "lrsearch.db").rename(swept / "mine.db")
    _, out, _ = command("best", "digits", "storage.url=sqlite:///mine.db")
    assert "train digits storage.url=sqlite:///mine.db" in out


@pytest.mark.parametrize("own_loop", [False, True])
def test_only_a_script_without_lrsearch_is_called_plain_pytorch(
    command: Command, tmp_path: Path, own_loop: bool
) -> None:
    url = f"sqlite:///{tmp_path / 'lrsearch.db'}"
    sweep = ToldSweep(url, 1, *(["objective._target_=mypkg.train"] if own_loop else []))
    sweep.trial()
    code, out, _ = command("best", "digits")
    assert code == 0
    assert ("in plain PyTorch: " in out) != own_loop
    assert ("as a script: " in out) == own_loop
    if own_loop:
        assert "lrsearch" in command("best", "digits", "--format", "python")[1]
    assert (
        "in plain PyTorch" in study_note(read_study(sweep.database, "digits"), "Use trial 1.", ())
    ) != own_loop


@pytest.mark.slow
def test_the_script_of_another_trial_gives_the_value_that_is_recorded(
    command: Command, swept: Path, environment: dict[str, str]
) -> None:
    worst = json.loads(command("export", "digits", "--format", "json")[1])
    trial = max(worst["trials"], key=lambda one: one["value"])
    number = str(trial["number"])
    code, script, _ = command("best", "digits", "--trial", number, "--format", "python")
    assert code == 0
    (swept / "other.py").write_text(script)
    done = subprocess.run(
        [sys.executable, "other.py"], cwd=swept, env=environment, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == f"val_loss {trial['value']!r}"


def test_any_trial_is_trained_again_from_the_database_to_the_last_bit(
    command: Command, swept: Path
) -> None:
    (swept / "outputs/digits/best.yaml").unlink()
    code, out, _ = command("train", "digits", "--trial", "0")
    assert code == 0
    assert "equal to the last bit" in out


def test_a_longer_training_is_not_compared(command: Command, swept: Path) -> None:
    code, out, _ = command("train", "digits", "--epochs", "4")
    assert code == 0
    assert "epoch 4 " in out
    assert "after 3 epochs: another length is another schedule" in out
    assert "equal" not in out


def test_what_has_not_completed_cannot_be_best(command: Command, swept: Path) -> None:
    database = Database("sqlite:///lrsearch.db")
    with database.session.begin() as session:
        session.execute(text("update lrsearch_units set outcome='pruned' where trial_number=2"))
    code, _, error = command("best", "digits", "--trial", "2")
    assert code == 2
    assert "trial 2 of digits is pruned" in error
    with database.session.begin() as session:
        session.execute(text("update lrsearch_units set outcome='pruned'"))
    code, _, error = command("best", "digits")
    assert code == 2
    assert "no trial of digits has completed, and none will: all have ended (6 pruned)" in error
    with database.session.begin() as session:
        session.execute(text("update lrsearch_units set state='open', outcome=null"))
    assert "no trial of digits has completed yet" in command("best", "digits")[2]


def test_it_says_what_is_to_be_confirmed(command: Command, swept: Path) -> None:
    assert "confirmed" not in command("best", "digits")[1]
    with Database("sqlite:///lrsearch.db").session.begin() as session:
        confirm = """json_set(config, '$.confirm', json('{"top": 3, "seeds": 2}'))"""
        session.execute(text(f"update lrsearch_studies set config = {confirm}"))
    _, out, _ = command("best", "digits")
    assert "not confirmed yet. Run the same command once more, and the best 3 will be" in out
    with Database("sqlite:///lrsearch.db").session.begin() as session:
        session.execute(text("update lrsearch_units set state='open' where number=5"))
    assert (
        "not confirmed yet. Once the search has ended, the best 3" in command("best", "digits")[1]
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("best",), "name a study: lrsearch best NAME"),
        (("best", "digist"), "there: digits"),
        (("best", "digits", "--format", "yaml", "--json"), "give one of them"),
        (("best", "digits", "7"), "one word too many"),
        (("best", "digits", "--trial", "77"), "no finished trial 77"),
        (("train",), "name a study: lrsearch train NAME"),
        (("train", "digits", "--epochs", "0"), "--epochs: 0 is not above 0"),
        (("train", "outputs/digits/best.yaml", "--trial", "1"), "holds one trial"),
    ],
)
def test_bad_input_is_refused(
    command: Command, swept: Path, arguments: tuple[str, ...], said: str
) -> None:
    code, out, error = command(*arguments)
    assert (code, out) == (2, "")
    assert said in error
