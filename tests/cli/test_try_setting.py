"""`try`: a setting by hand becomes the next trial, and the plan goes on as if it were not there."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import Command, Run
from sqlalchemy import select

from lrsearch.analysis.study_data import read_study
from lrsearch.queue.queue import Queue
from lrsearch.storage.database import Database
from lrsearch.storage.tables import TrialSlotRow
from lrsearch.study.study import load_row

AGAIN = ("+sweep=digits", "train.epochs=3", "pruner=none", "workers=1")


def queue() -> Queue:
    database = Database("sqlite:///lrsearch.db")
    return Queue(database.session, load_row(database, "digits").study_id)


@pytest.mark.slow
def test_it_is_trained_by_the_next_worker_and_by_the_old_command_too(
    command: Command, swept: Path, lrsearch: Run
) -> None:
    code, out, _ = command(
        "try", "digits", "lr=1e-2", "scheduler=cosine", "cosine.final=0.05", "optimizer=sgd"
    )
    assert code == 0
    assert "queued as the next trial of digits: lr=1e-2" in out
    assert "now has 7 trials" in out
    assert "worker --sweep digits" in out
    done = lrsearch(*AGAIN, "study.n_trials=6")
    assert done.returncode == 0, done.stderr
    assert "goes on at 6 of 7" in done.stdout
    assert "cut" not in done.stdout
    trial = read_study(Database("sqlite:///lrsearch.db"), "digits").trial(6)
    assert trial.unit == -1
    assert trial.recipe is not None
    assert (trial.recipe.lr, trial.recipe.scheduler.arguments["final"]) == (0.01, 0.05)


def test_a_waiting_one_is_neither_cut_nor_in_the_way_of_more(command: Command, swept: Path) -> None:
    command("try", "digits", "lr=0.1", "optimizer=sgd")
    command("try", "digits", "lr=0.2", "optimizer=sgd")
    assert (queue().planned(), queue().total()) == (6, 8)
    code, out, error = command("submit", *AGAIN, "study.n_trials=9")
    assert code == 0, error
    assert "extended from 6 to 9 trials" in out
    _, out, _ = command("submit", *AGAIN, "study.n_trials=7")
    assert "cut from 9 trials to 7" in out
    assert (queue().planned(), queue().total()) == (7, 9)


def test_what_a_setting_implies_is_fixed_and_said(command: Command, swept: Path) -> None:
    _, out, _ = command("try", "digits", "lr=0.1", "scheduler=cosine")
    assert "unit" not in out
    assert "optimizer=sgd is fixed with it, because lr is sgd's" in out
    database = Database("sqlite:///lrsearch.db")
    with database.session() as session:
        given = session.scalar(select(TrialSlotRow.params).where(TrialSlotRow.number == -1))
    assert given == {"lr": 0.1, "scheduler": "cosine", "optimizer": "sgd"}


def test_a_stopped_study_says_how_to_go_on(command: Command, swept: Path) -> None:
    command("try", "digits", "lr=0.2")  # all was done
    command("stop", "digits")
    assert "python -m lrsearch resume digits" in command("try", "digits", "lr=0.1")[1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "digits has optimizer, scheduler"),
        (("lr=7",), "outside 0.001 to 1"),
        (("optimizer=adamw", "lr=0.02"), "did you mean adamw.lr?"),
        (("schedular=cosine",), "did you mean scheduler?"),
        (("lr=fast",), "'fast' is not a number"),
        (("learning_rate=0.1",), "no such parameter here"),
        (("scheduler=cosin",), "'cosin' is not one of"),
        (("lr=0.1,0.2",), "one setting has one lr"),
        (("lr=0.1", "lr=0.2"), "lr is given twice"),
        (("lr=",), "not of the form key=value"),
        (("optimizer=adamw", "sgd.momentum=0.9"), "no such parameter here"),
    ],
)
def test_what_is_not_of_the_space_is_refused_and_nothing_is_queued(
    command: Command, swept: Path, words: tuple[str, ...], said: str
) -> None:
    code, out, error = command("try", "digits", *words)
    assert (code, out) == (2, "")
    assert said in error
    assert queue().total() == 6
