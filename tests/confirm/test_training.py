"""A worker on a confirmation: real trainings, their weights, the test part; nothing is lost."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import torch
from command_line import Query, Run
from local_worker import URL, serve, submit

from lrsearch.analysis.study_data import StudyData, read_study
from lrsearch.checkpoints.store import Store
from lrsearch.cli.compose import load_settings
from lrsearch.confirm.result import Over
from lrsearch.data.prepare import prepare
from lrsearch.objectives.build import build_objective
from lrsearch.objectives.builtin import TrainingObjective
from lrsearch.recipe import Recipe
from lrsearch.storage.database import Database

Work = Callable[..., StudyData]

SEARCH = ("+sweep=digits", "study.n_trials=3", "train.epochs=3", "pruner=none",
          "space.batch_size=64", "sampler=random")  # fmt: skip
CONFIRM = ("confirm.top=2", "confirm.seeds=2")
RUNS = (
    "select number, trial_number, seed, outcome, value from lrsearch_side_runs "
    "where kind = 'confirm' order by number"
)


def run(*overrides: str, stop_after: int | None = None) -> StudyData:
    """A sweep with one worker in this process; the study as it is then."""
    name = submit(*overrides).name
    serve(name, stop_after=stop_after)
    database = Database(URL)
    found = read_study(database, name)
    database.close()
    return found


@pytest.fixture
def work(own_folder: Path) -> Work:
    """Runs sweeps in the test's folder."""
    return run


@pytest.fixture(scope="module")
def confirmed_folder(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """Where three trials have been searched and the best two confirmed, undisturbed."""
    folder = tmp_path_factory.mktemp("confirmed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LRSEARCH_CACHE", str(cache))
        patch.chdir(folder)
        run(*SEARCH, *CONFIRM)
    return folder


@pytest.fixture
def confirmed(confirmed_folder: Path, own_folder: Path) -> StudyData:
    """That study, in a copy of its folder as the current one."""
    shutil.copytree(confirmed_folder, own_folder, dirs_exist_ok=True)
    database = Database(URL)
    found = read_study(database, "digits")
    database.close()
    return found


def test_the_best_are_trained_again_and_the_winner_is_tested(
    confirmed: StudyData, query: Query
) -> None:
    study, found = confirmed, confirmed.confirmation
    assert found is not None
    assert found.winner is not None
    assert found.winner.estimate is not None
    runs = query(RUNS)
    assert [(number, outcome) for number, _, _, outcome, _ in runs] == [
        (k, "complete") for k in range(4)
    ]
    # Other seeds, other values: but the same recipe, so not far from those of the search.
    for _, trial, seed, _, value in runs:
        assert value != found.search_values[trial]
        assert seed not in {one.seed for one in study.trials}
    assert found.test is not None
    assert set(found.test.means) == {"test_loss", "test_accuracy"}
    assert len(found.test.scores) == 2
    assert found.test.results["test_loss"].over == Over("test", True, True, 359)
    curves = [json.loads(text) for (text,) in query(
        "select result from lrsearch_side_runs where kind = 'confirm'")]  # fmt: skip
    assert all([point["epoch"] for point in one["curve"]] == [1, 2, 3] for one in curves)
    assert query("select count(*) from trials") == [(3,)]
    assert query("select count(distinct trial_id) from lrsearch_epochs") == [(3,)]


def test_the_test_score_is_that_of_the_winners_own_weights(
    confirmed: StudyData, tmp_path: Path
) -> None:
    study, found = confirmed, confirmed.confirmation
    assert found is not None
    assert found.winner is not None
    assert found.test is not None
    store = Store(str(tmp_path / "lrsearch-checkpoints"))
    kept = sorted((tmp_path / "lrsearch-checkpoints").rglob("confirmed/*.safetensors"))
    assert len(kept) == 2  # those of the others are gone
    objective = build_objective(load_settings([*SEARCH]), study.record["data"])
    recipe = study.trial(found.winner.trial).recipe
    assert isinstance(objective, TrainingObjective)
    assert isinstance(recipe, Recipe)
    numbers = [int(path.stem.removeprefix("run-")) for path in kept]
    for number, scores in zip(numbers, found.test.scores, strict=True):
        weights = store.confirmed(f"digits-{study.study_id}", number)
        assert weights is not None
        again = objective.score(recipe, weights, "test")
        assert again is not None
        assert again.values == scores
    # By hand: the share of the test part's samples whose largest output is right.
    data = torch.load(prepare(load_settings([*SEARCH]).data).file, weights_only=True)
    model = objective.task(recipe, 0, lambda: False).model
    model.load_state_dict(weights)
    right = model.eval()(data["test_x"]).argmax(1) == data["test_y"]
    assert found.test.scores[-1]["test_accuracy"] == pytest.approx(float(right.float().mean()))


def test_each_run_has_the_metric_on_the_validation_samples_of_which_its_value_is_the_mean(
    confirmed: StudyData,
) -> None:
    found = confirmed.confirmation
    assert found is not None
    assert found.over == Over("validation", seeds=True, samples=True, count=360)
    for run in found.runs:
        assert len(run.samples.means) == 360
        assert sum(run.samples.means) / 360 == pytest.approx(run.value, rel=1e-5)


def test_one_told_to_stop_hands_its_run_back_and_another_ends_it_with_the_same_numbers(
    work: Work, query: Query, tmp_path: Path, confirmed_folder: Path
) -> None:
    work(*SEARCH)
    steps = 3 * 16  # of a training
    work(*SEARCH, *CONFIRM, stop_after=steps + 30)
    states = [state for (state,) in query("select state from lrsearch_side_runs")]
    assert states == ["done", "open", "open", "open"]
    assert list((tmp_path / "lrsearch-checkpoints").rglob("confirm-000001/*.ckpt"))
    work(*SEARCH, *CONFIRM)
    assert not list((tmp_path / "lrsearch-checkpoints").rglob("*.ckpt"))
    attempts = query("select attempts, deaths from lrsearch_side_runs where kind = 'confirm'")
    assert attempts == [(1, 0), (2, 0), (1, 0), (1, 0)]
    with closing(sqlite3.connect(confirmed_folder / "lrsearch.db")) as undisturbed:
        assert query(RUNS) == undisturbed.execute(RUNS).fetchall()


KILLER = """
import os, signal
from pathlib import Path
import torch

steps = 0

class Net(torch.nn.Module):
    def __init__(self, n_outputs):
        super().__init__()
        self.layer = torch.nn.Linear(64, n_outputs)

    def forward(self, x):
        global steps
        steps += self.training
        fatal = Path("kill-at-step")
        if self.training and fatal.exists() and steps == int(fatal.read_text()):
            fatal.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        return self.layer(x.flatten(1))
"""


@pytest.mark.slow
def test_a_worker_that_is_killed_in_the_middle_of_a_run_loses_nothing(
    work: Work, lrsearch: Run, query: Query, tmp_path: Path
) -> None:
    (tmp_path / "killer.py").write_text(KILLER)
    sweep = (*SEARCH, "model._target_=killer.Net", "~model.hidden", "train.checkpoint_every=4",
             "workers=1", "space.optimizer.only=[sgd]")  # fmt: skip
    work(*sweep)
    (tmp_path / "kill-at-step").write_text(str(2 * 3 * 16 + 22))  # in the third run
    killed = lrsearch(*sweep, *CONFIRM)
    assert killed.returncode == 0, killed.stderr
    assert "died (signal 9); another takes its place" in killed.stdout
    assert not (tmp_path / "kill-at-step").exists()
    rows = query("select attempts, deaths, state from lrsearch_side_runs order by side_run_id")
    assert rows == [(1, 0, "done")] * 2 + [(2, 1, "done")] + [(1, 0, "done")] * 2
    assert "confirmed: val_loss" in killed.stdout
    disturbed = query(RUNS)
    work(*sweep, *CONFIRM, "study.name=undisturbed")
    assert query(RUNS.replace("where", "where study_id = 2 and")) == disturbed
    test = "select value from lrsearch_side_runs where kind = 'test' order by side_run_id"
    first, second = query(test)
    assert first == second


def test_lost_weights_leave_no_test_score_and_it_is_said(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Store, "keep_confirmed", lambda *_: None)
    found = work(*SEARCH, *CONFIRM).confirmation
    assert found is not None
    assert found.test is not None
    assert (found.test.outcome, found.test.means) == ("failed", {})
    assert "storage.checkpoints" in str(found.test.reason)


OWN = """
def objective(recipe, report, seed, epochs):
    for epoch in range(1, int(epochs) + 1):
        report(epoch, recipe.lr + (seed % 100) / 1e4 + 1.0 / epoch)
"""


def test_ones_own_objective_is_confirmed_without_a_test_score(work: Work, tmp_path: Path) -> None:
    (tmp_path / "my_objective.py").write_text(OWN)
    study = work("+sweep=digits", "objective._target_=my_objective.objective", "study.n_trials=4",
                 "train.epochs=2", "pruner=none", "confirm.top=2", "confirm.seeds=2")  # fmt: skip
    assert study.confirmation is not None
    assert study.confirmation.winner is not None
    assert study.confirmation.test is None
    assert not study.confirmation.over.samples
    assert "your own objective" in str(study.confirmation.over.unknown)
    assert study.shown_state == "done"


@pytest.mark.slow
def test_the_time_of_a_study_holds_for_its_confirmation_too(
    work: Work, lrsearch: Run, query: Query
) -> None:
    work(*SEARCH)
    late = lrsearch(*SEARCH, *CONFIRM, "study.timeout=0.001")
    assert "study.timeout=0.001 is up" in late.stdout
    assert "not confirmed yet: confirming the best 2: 0 of 4 runs" in late.stdout
    assert query("select distinct state from lrsearch_side_runs") == [("open",)]
    study = work(*SEARCH, *CONFIRM)
    assert study.shown_state == "done"
    assert study.confirmation is not None
    assert study.confirmation.winner is not None
