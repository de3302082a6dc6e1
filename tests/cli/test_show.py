"""`show` and `compare`: trials for people and for programs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import Command
from sqlalchemy import text

from lrsearch.analysis.study_data import StudyData, read_study
from lrsearch.plots.static.curves import RATES_NOTE, SHARE
from lrsearch.queue.endings import Ending
from lrsearch.queue.owners import process_in_words
from lrsearch.queue.queue import Queue
from lrsearch.queue.trial_claims import TrialClaims
from lrsearch.settings import QueueSettings
from lrsearch.storage.database import Database
from lrsearch.study.follow_up import follow_up


@pytest.fixture
def study(swept: Path) -> StudyData:
    return read_study(Database("sqlite:///lrsearch.db"), "digits")


def test_a_trial_is_shown_with_its_recipe_curves_and_evaluations(
    command: Command, study: StudyData
) -> None:
    best = study.ranked[0]
    code, out, error = command("show", "digits", str(best.number))
    assert (code, error) == (0, "")
    assert "the best" in out
    assert best.recipe is not None
    assert best.recipe.describe() in out
    assert process_in_words(str(best.owner)) in out
    assert "validation loss" in out
    assert "learning rate" in out
    rows = out.splitlines()[-3:]
    assert [row.split()[0] for row in rows] == ["1", "2", "3"]


def test_into_a_pipe_go_no_colours_and_plots_of_80_columns(
    command: Command, study: StudyData
) -> None:
    for arguments in (("show", "digits", "0"), ("compare", "digits", "0", "1", "2")):
        _, out, _ = command(*arguments)
        assert "\x1b" not in out
        plotted = [line for line in out.splitlines() if "│" in line or "┤" in line]
        assert plotted
        assert max(map(len, plotted)) <= 80


def test_where_and_why_a_trial_ended_is_shown(command: Command, swept: Path) -> None:
    database = Database("sqlite:///lrsearch.db")
    study_id = read_study(database, "digits", curves=False).study_id
    Queue(database.session, study_id).add([({}, 1), ({}, 2), ({}, 3)], first=6)
    claims = TrialClaims(database.session, study_id, "far-away/1/1.00", follow_up, QueueSettings())
    for outcome in (
        Ending("diverged", None, "the loss is nan", step=17, lr=0.25),
        Ending("failed", None, "Traceback [most recent]:\nValueError: [a] bug"),
        Ending("complete", 2.5, spared_at=3),
    ):
        claim = claims.claim(take_over=False)
        assert claim is not None
        claims.finish(claim, outcome, 1.0)
    _, diverged, _ = command("show", "digits", "6")
    assert "step 17, learning rate 0.25" in diverged
    assert "the loss is nan" in diverged
    assert "no evaluation" in diverged
    _, failed, _ = command("show", "digits", "7")
    assert "Traceback [most recent]:\nValueError: [a] bug" in failed
    _, spared, _ = command("show", "digits", "8")
    assert "after evaluation 3 it should have been pruned, but went on as a check" in spared


def test_a_pruned_trial_says_what_is_known_of_it(command: Command, swept: Path) -> None:
    database = Database("sqlite:///lrsearch.db")
    with database.session.begin() as session:
        session.execute(
            text("update lrsearch_studies set config=json_set(config, '$.pruner.name', 'asha')")
        )
        session.execute(
            text("update lrsearch_units set outcome='pruned', value=null where trial_number=2")
        )
        session.execute(
            text(
                "delete from lrsearch_epochs where evaluation > 2 and trial_id="
                "(select trial_id from lrsearch_units where trial_number=2)"
            )
        )
    value = read_study(database, "digits").trial(2).curve[-1].value
    assert value is not None
    said = f"pruned by the asha pruner after evaluation 2 at epoch 2: val_loss {value:.4g}"
    assert command("show", "digits", "2")[1].splitlines()[-1] == said
    assert json.loads(command("show", "digits", "2", "--json")[1])["reason"] == said


def test_one_evaluation_is_not_plotted(command: Command, swept: Path) -> None:
    database = Database("sqlite:///lrsearch.db")
    with database.session.begin() as session:
        session.execute(text("delete from lrsearch_epochs where evaluation > 1"))
    _, out, _ = command("show", "digits", "0")
    assert "loss: one evaluation, nothing to plot" in out
    assert f"\n{RATES_NOTE}\n" in out
    _, out, _ = command("compare", "digits", "0", "1")
    assert "val_loss: one evaluation, nothing to plot" in out


def test_the_rate_of_every_step_is_drawn_by_the_share_of_the_training(
    command: Command, study: StudyData
) -> None:
    recipe = study.trial(0).recipe
    assert recipe is not None
    _, out, _ = command("show", "digits", "0")
    assert f"learning rate, peak {recipe.lr:.4g}\n" in out
    for shown in (out, command("compare", "digits", "0", "1")[1]):
        assert f"\n{RATES_NOTE}\n" in shown
        assert shown.count(SHARE) == 2
        assert shown.count("100%") == 2


def test_for_programs_a_trial_is_json(command: Command, study: StudyData) -> None:
    shown = json.loads(command("show", "digits", "1", "--json")[1])
    trial = study.trial(1)
    assert (shown["number"], shown["value"], shown["seed"]) == (1, trial.value, trial.seed)
    assert trial.recipe is not None
    assert shown["recipe"] == trial.recipe.to_dict()
    assert [one["val_loss"] for one in shown["evaluations"]] == [p.val_loss for p in trial.curve]
    both = json.loads(command("compare", "digits", "1", "2", "--json")[1])
    assert both[0] == shown


def test_trials_are_compared_by_what_differs(command: Command, study: StudyData) -> None:
    code, out, _ = command("compare", "digits", "0", "1", "2")
    assert code == 0
    head, *rows = out.splitlines()
    assert head.split() == ["trial", "0", "trial", "1", "trial", "2"]
    names = {row.split()[0] for row in rows if row.split()}
    assert {"outcome", "val_loss", "lr"} <= names
    for number in (0, 1, 2):
        assert f"trial {number}" in out.rpartition("learning rate")[2]


def test_what_is_the_same_in_all_is_said_once(command: Command, study: StudyData) -> None:
    by_optimizer: dict[str, list[str]] = {}
    for trial in study.trials:
        assert trial.recipe is not None
        by_optimizer.setdefault(trial.recipe.optimizer.name, []).append(str(trial.number))
    name, alike = max(by_optimizer.items(), key=lambda item: len(item[1]))
    _, out, _ = command("compare", "digits", *alike)
    (line,) = [line for line in out.splitlines() if line.startswith("the same in all: ")]
    assert f"optimizer={name}" in line


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("show", "digits"), "name a trial"),
        (("show", "digits", "x"), "not a whole number"),
        (("show", "digits", "99"), "there: 0 to 5"),
        (("show", "digits", "0", "1"), "one word too many"),
        (("compare", "digits", "0"), "name two trials or more"),
        (("compare", "digits", "0", "0"), "named twice"),
        (("compare",), "name a study"),
    ],
)
def test_bad_input_is_refused(
    command: Command, study: StudyData, arguments: tuple[str, ...], said: str
) -> None:
    code, out, error = command(*arguments)
    assert (code, out) == (2, "")
    assert said in error
