"""Ask and tell: a trial that is trained elsewhere is a trial like any other."""

from __future__ import annotations

import gc
import math
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import torch

import lrsearch as lr
from lrsearch.workers.abilities import LABELS
from lrsearch.workers.asked import AskedTrial
from lrsearch.workers.exit_codes import ExitCode


@pytest.fixture
def study(own_folder: Path) -> lr.Study:
    """A study of four trials of three epochs; those with a loss above 10 are pruned."""
    space = lr.Space(lr=lr.log(1e-3, 1.0))
    return lr.create_study(space, name="asked", n_trials=4, epochs=3, pruner="threshold")


def asked(study: lr.Study) -> AskedTrial:
    """The next trial."""
    trial = study.ask()
    assert trial is not None
    return trial


def row(study: lr.Study, number: int) -> dict[str, Any]:
    """A trial as the table has it."""
    table: Any = study.trials()
    return dict(table.set_index("trial").loc[number])


def until_open(study: lr.Study, number: int) -> None:
    """Wait for the thread of a trial that was dropped."""
    for thread in threading.enumerate():
        if thread.name == f"trial {number}":
            thread.join(30)
    assert row(study, number)["state"] == "open"


def test_a_trial_is_told_and_its_value_is_its_last_report(study: lr.Study) -> None:
    trial = asked(study)
    assert (trial.number, trial.epochs) == (0, 3)
    assert trial.device == torch.device("cpu") or torch.cuda.is_available()
    optimizer, schedule = trial.recipe.build(torch.nn.Linear(2, 1), steps=3)
    for epoch, loss in ((1, 0.5), (2, 0.2), (3, 0.3)):
        optimizer.step()
        schedule.step()
        trial.report(epoch, val_loss=loss)
    trial.keep_weights({"w": torch.ones(2)})
    assert row(study, 0)["state"] == "running"
    study.tell(trial)
    assert (row(study, 0)["outcome"], row(study, 0)["value"]) == ("complete", 0.3)
    assert study.best.recipe.lr == trial.recipe.lr
    assert torch.equal(study.best_weights()["w"], torch.ones(2))


def test_a_value_alone_is_enough_and_several_trials_are_open_at_once(study: lr.Study) -> None:
    first, second = asked(study), asked(study)
    assert first.number != second.number
    assert first.recipe.lr != second.recipe.lr
    second.tell(0.25)
    first.tell(torch.tensor(0.75))  # type: ignore[arg-type]
    assert [row(study, number)["value"] for number in (0, 1)] == [0.75, 0.25]


def test_a_pruned_trial_is_stored_as_pruned_though_the_exception_was_caught(
    study: lr.Study,
) -> None:
    trial = asked(study)
    with pytest.raises(lr.TrialPruned):
        trial.report(1, val_loss=11.0)
    assert trial.should_stop()
    with pytest.raises(lr.TrialPruned):
        trial.report(2, val_loss=1.0)
    trial.tell()
    assert row(study, 0)["outcome"] == "pruned"


@pytest.mark.parametrize(
    ("error", "outcome"), [(ValueError("broken"), "failed"), (lr.TrialPruned(), "pruned")]
)
def test_an_error_ends_a_trial_as_in_a_function(
    study: lr.Study, error: BaseException, outcome: str
) -> None:
    trial = asked(study)
    trial.report(1, val_loss=1.0)
    study.tell(trial, error=error)
    assert row(study, 0)["outcome"] == outcome
    assert outcome != "failed" or "ValueError: broken" in row(study, 0)["reason"]


def test_a_loss_that_is_not_finite_is_a_divergence(study: lr.Study) -> None:
    trial = asked(study)
    trial.tell(math.nan)
    assert row(study, 0)["outcome"] == "diverged"


def test_what_cannot_be_told_changes_nothing(study: lr.Study) -> None:
    trial = asked(study)
    with pytest.raises(lr.UserError, match="reported nothing"):
        trial.tell()
    with pytest.raises(lr.UserError, match="one number"):
        trial.tell("low")  # type: ignore[arg-type]
    trial.report(1, val_loss=0.5)
    with pytest.raises(lr.UserError, match="without a value"):
        trial.tell(0.4)
    assert row(study, 0)["state"] == "running"
    trial.tell()
    with pytest.raises(lr.UserError, match="told"):
        trial.tell()
    with pytest.raises(lr.UserError, match="told"):
        trial.report(2, val_loss=0.1)
    assert row(study, 0)["value"] == 0.5


def test_a_dropped_trial_is_handed_back_and_taken_over(study: lr.Study) -> None:
    trial = asked(study)
    lr_of_first, folder = trial.recipe.lr, Path(trial.checkpoint_dir)
    trial.report(1, val_loss=0.5)
    (folder / "state").write_text("1")
    del trial
    gc.collect()
    until_open(study, 0)
    again = asked(study)
    assert (again.number, again.recipe.lr) == (0, lr_of_first)
    assert (Path(again.checkpoint_dir) / "state").read_text() == "1"
    again.report(2, val_loss=0.4)  # goes on where the first has ended
    again.tell()
    assert row(study, 0)["value"] == 0.4
    assert row(study, 0)["attempts"] == 2


def test_nothing_is_left_after_the_budget_and_none_is_given_while_it_is_stopped(
    study: lr.Study,
) -> None:
    numbers = []
    while (trial := study.ask()) is not None:
        numbers.append(trial.number)
        trial.tell(1.0)
    assert numbers == [0, 1, 2, 3]


def test_another_process_can_ask_but_no_worker_can_train(
    study: lr.Study, command: Any, caplog: pytest.LogCaptureFixture
) -> None:
    other = lr.load_study("asked")
    asked(other).tell(0.5)
    assert row(study, 0)["value"] == 0.5
    code, _, _ = command("worker", "--sweep", "asked", "--until-empty")
    assert code == ExitCode.REFUSED
    assert "notebook that made the study" in caplog.text
    assert row(study, 0)["value"] == 0.5


def test_who_asks_must_have_what_the_study_needs(
    study: lr.Study, command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert command("set", "asked", "needs.labels=[a100]")[0] == 0
    with pytest.raises(lr.UserError, match="label a100"):
        study.ask()
    monkeypatch.setenv(LABELS, "a100")
    assert asked(study).number == 0


def test_a_confirmation_needs_a_training(own_folder: Path) -> None:
    with pytest.raises(lr.UserError, match="confirm"):
        lr.create_study(lr.Space(lr=0.1), name="no", confirm={"top": 2})


@pytest.mark.slow
def test_the_end_of_the_process_hands_open_trials_back(study: lr.Study) -> None:
    code = "import lrsearch; t = lrsearch.load_study('asked').ask(); t.report(1, val_loss=0.5)"
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ})
    assert row(study, 0)["state"] == "open"
    assert row(study, 0)["deaths"] == 0
