"""Searches from Python: the command's configuration, engine and storage."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch

import lrsearch as lr
from lrsearch.analysis.study_data import StudyData, read_study
from lrsearch.cli.compose import load_settings
from lrsearch.storage.database import open_existing

SPACE = lr.Space(lr=lr.log(1e-3, 1.0), scheduler=["cosine", "wsd"], batch_size=[32, 64])
QUIET: dict[str, Any] = {"workers": 0, "epochs": 3, "quiet": True, "pruner": "none"}


def train(trial: lr.Trial, worst: float = 1.0) -> None:
    """Report what depends on the recipe alone."""
    for epoch in range(1, 4):
        trial.report(epoch, val_loss=worst * abs(trial.recipe.lr - 0.1) + 1 / epoch)


@pytest.fixture(autouse=True)
def folder(own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder of a user without settings in the environment."""
    for name in [name for name in os.environ if name.startswith("LRSEARCH_")]:
        if name != "LRSEARCH_CACHE":
            monkeypatch.delenv(name)
    return own_folder


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """Torch's number of threads, which a training in this process sets."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def stored(name: str) -> StudyData:
    """A study as the database has it."""
    with closing(open_existing("sqlite:///lrsearch.db")) as database:
        return read_study(database, name)


# The configuration


def test_a_call_is_stored_as_the_sweep_file_that_says_the_same(folder: Path) -> None:
    (folder / "mypkg.py").write_text("def train(trial): ...\n")
    (folder / "sweeps").mkdir()
    (folder / "sweeps" / "python.yaml").write_text(
        """
defaults: [override /space: bare, override /sampler: tpe, override /pruner: asha]
study: {name: mine, n_trials: 7, seed: 5}
metric: {name: accuracy}
train: {epochs: 4, keep_best: 2}
confirm: {top: 2, seeds: 3}
objective: {_target_: mypkg.train}
space:
  lr: {low: 0.001, high: 1.0, log: true}
  batch_size: [32, 64]
  scheduler: {only: [cosine, wsd]}
  optimizer: {only: [sgd], sgd: {momentum: {low: 0.8, high: 0.99}}}
"""
    )
    space = lr.Space(
        lr=lr.log(1e-3, 1.0),
        batch_size=[32, 64],
        scheduler=["cosine", "wsd"],
        optimizer={"sgd": {"momentum": lr.uniform(0.8, 0.99)}},
    )
    lr.create_study(
        space,
        name="mine",
        n_trials=7,
        seed=5,
        metric="accuracy",
        epochs=4,
        sampler="tpe",
        pruner="asha",
        train={"keep_best": 2},
        overrides=["queue.lease=30"],
    )
    config = dict(stored("mine").config)
    wanted = dict(load_settings(["+sweep=python", "queue.lease=30"]).plain)
    assert config.pop("objective")["_target_"] != wanted.pop("objective")["_target_"]
    assert (config.pop("confirm"), wanted.pop("confirm")["top"]) == (None, 2)
    assert config == wanted


def test_functions_and_classes_stand_for_their_paths_in_any_section() -> None:
    lr.search(
        None,
        lr.Space(lr=0.1),
        n_trials=1,
        epochs=1,
        name="paths",
        data="digits",
        model="mlp_small",
        train={"device": "cpu", "loss": torch.nn.CrossEntropyLoss},
        workers=0,
    )
    loss = stored("paths").config["train"]["loss"]
    assert loss == {"_target_": "torch.nn.modules.loss.CrossEntropyLoss"}


def test_a_space_in_the_wrong_place_is_named() -> None:
    with pytest.raises(lr.UserError, match=r"search\(train, Space"):
        lr.search("train.py", lambda trial: None)  # type: ignore[arg-type]


def test_all_that_is_wrong_is_said_at_once_and_nothing_is_stored(folder: Path) -> None:
    with pytest.raises(lr.ConfigErrors) as caught:
        lr.search(train, lr.Space(lr=lr.log(1.0, 0.1), scheduler="cosin"),
                  n_trials=0, epochs=-1, trian={"epochs": 3}, workers=0)  # fmt: skip
    problems = "\n".join(caught.value.problems)
    for words in ("space.lr", "cosine", "study.n_trials", "train.epochs", "trian"):
        assert words in problems
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"sampler": "tpee"}, "sampler: .*tpe"),
        ({"objective": "nowhere.train"}, "no module 'nowhere'"),
        ({"objective": lambda a, b, c: None}, "c is missing"),
        ({"overrides": ["study.n_trials"]}, "not of the form key=value"),
    ],
)
def test_bad_arguments_are_named(folder: Path, arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(lr.UserError, match=words):
        lr.search(**{"objective": train, "space": SPACE, **QUIET, **arguments})
    assert not (folder / "lrsearch.db").exists()


# The search


def test_a_search_resumes_grows_and_says_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    arguments: dict[str, Any] = {**QUIET, "name": "mine"}
    study = lr.search(train, SPACE, n_trials=2, **arguments)
    assert capsys.readouterr().out == ""
    values = [trial.value for trial in stored("mine").trials]
    again = lr.search(train, SPACE, n_trials=3, **{**arguments, "quiet": False})
    said = capsys.readouterr().out
    assert "optimizer adamw, warm-up none" in said
    assert "goes on at 2 of 3 trials" in said
    assert [trial.value for trial in stored("mine").trials][:2] == values
    assert (again.name, len(stored("mine").trials)) == (study.name, 3)
    assert {trial.recipe.scheduler.name for trial in stored("mine").trials if trial.recipe} <= {
        "cosine", "wsd",
    }  # fmt: skip


def test_a_function_within_a_function_is_trained_here() -> None:
    seen = []

    def objective(trial: lr.Trial) -> None:
        seen.append(trial.number)
        train(trial)

    study = lr.search(objective, SPACE, n_trials=2, epochs=3, quiet=True)
    assert seen == [0, 1]
    assert study.name == "objective"
    assert not (study.output / "best.py").exists()  # no script could import it
    assert lr.Recipe.from_file(study.output / "best.yaml") == study.best.recipe


def test_an_interruption_hands_the_trial_back_and_returns() -> None:
    interrupted: list[int | None] = []

    def objective(trial: lr.Trial) -> None:
        if trial.number == 1 and not interrupted:
            interrupted.append(trial.number)
            signal.raise_signal(signal.SIGINT)
        train(trial)

    before = signal.getsignal(signal.SIGINT)
    lr.search(objective, SPACE, n_trials=3, name="cut", epochs=3, quiet=True)
    assert signal.getsignal(signal.SIGINT) is before
    first, second = stored("cut").trials
    assert (first.outcome, second.state, second.outcome) == ("complete", "open", None)
    lr.load_study("cut").extend(0, objective, quiet=True)
    assert [trial.outcome for trial in stored("cut").trials] == ["complete"] * 3
    assert stored("cut").trials[1].attempts == 2


def test_a_second_interruption_hands_the_trial_back_at_once() -> None:
    interrupted = []

    def objective(trial: lr.Trial) -> None:
        if trial.number == 1 and not interrupted:
            interrupted.append(trial.number)
            signal.raise_signal(signal.SIGINT)
            try:
                signal.raise_signal(signal.SIGINT)
            finally:
                interrupted.append(None)
            raise AssertionError("the training goes on")
        train(trial)

    lr.search(objective, SPACE, n_trials=3, name="cut", epochs=3, quiet=True)
    assert interrupted == [1, None]
    second = stored("cut").trials[1]
    assert (second.state, second.outcome) == ("open", None)


def in_a_thread(action: Callable[[], object]) -> None:
    """Run an action in another thread; raise what it raises."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            action()
        except BaseException as error:  # noqa: BLE001 - raised below
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]


def test_a_search_in_another_thread_leaves_the_signals_alone() -> None:
    before = signal.getsignal(signal.SIGINT)
    seen = []

    def objective(trial: lr.Trial) -> None:
        seen.append(signal.getsignal(signal.SIGINT))
        train(trial)

    in_a_thread(lambda: lr.search(objective, SPACE, n_trials=1, epochs=3, quiet=True))
    assert seen == [before]


def test_three_failures_in_a_row_are_raised() -> None:
    def objective(trial: lr.Trial) -> None:
        raise ValueError(f"broken {trial.number}")

    with pytest.raises(lr.LrsearchError, match=r"ValueError: broken 2"):
        lr.search(objective, SPACE, n_trials=9, name="bad", quiet=True)
    assert [trial.outcome for trial in stored("bad").trials] == ["failed"] * 3


def test_lrsearchs_own_loop_trains_with_the_sections_of_model_and_data() -> None:
    study = lr.search(None, SPACE, n_trials=1, name="own", data="digits", model="mlp_small",
                      **{**QUIET, "epochs": 1})  # fmt: skip
    weights = study.best_weights()
    assert all(tensor.dtype is torch.float32 for tensor in weights.values())
    assert (study.output / "best.py").exists()


@pytest.mark.slow
def test_workers_get_a_function_that_they_cannot_import(folder: Path) -> None:
    offset = 3.0

    def objective(trial: lr.Trial) -> None:
        trial.report(1, val_loss=offset + trial.recipe.lr)

    study = lr.search(objective, SPACE, n_trials=4, epochs=1, workers=2, quiet=True)
    done = stored(study.name)
    assert [trial.outcome for trial in done.trials] == ["complete"] * 4
    assert all((trial.value or 0) > offset for trial in done.trials)
    assert str(os.getpid()) not in {(trial.owner or "").split("/")[1] for trial in done.trials}
    assert list(folder.rglob("*.pickle")) == []
