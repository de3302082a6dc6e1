"""A study as an object: what it says of the search, and its weights."""

from __future__ import annotations

import csv
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from plotly.graph_objects import Figure

import lrsearch as lr
from lrsearch.api.study import PLOTS

pandas: Any = pytest.importorskip("pandas")


def train(trial: lr.Trial) -> None:
    """Report what depends on the recipe alone, and keep the rate as the weights."""
    for epoch in range(1, 4):
        trial.report(epoch, val_loss=abs(trial.recipe.lr - 0.1) + 1 / epoch)
    trial.keep_weights({"lr": torch.tensor(trial.recipe.lr, dtype=torch.float64)})


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> lr.Study:
    """A study of six trials, three of them among the best that keep weights."""
    folder = tmp_path_factory.mktemp("study")
    threads = torch.get_num_threads()
    study = lr.search(
        train,
        lr.Space(lr=lr.log(1e-3, 1.0), scheduler=["cosine", "wsd"]),
        n_trials=6,
        name="mine",
        storage=f"sqlite:///{folder / 'mine.db'}",
        output_dir=folder / "outputs",
        epochs=3,
        pruner="none",
        workers=0,
        quiet=True,
        train={"keep_best": 2},
    )
    torch.set_num_threads(threads)
    return study


def test_the_best_trial_is_the_one_with_the_lowest_value(searched: lr.Study) -> None:
    best, trials = searched.best, searched.trials()
    assert isinstance(trials, pandas.DataFrame)
    row = trials.loc[trials.value.idxmin()]
    assert (best.number, best.value, best.seed) == (row.trial, row.value, row.seed)
    assert best.recipe.lr == row.lr
    assert best.value == abs(best.recipe.lr - 0.1) + 1 / 3
    assert repr(searched).startswith(f"<Study mine: 6 of 6 trials, best trial {best.number}: ")
    optimizer, schedule = best.recipe.build(torch.nn.Linear(2, 1), steps=10)
    assert optimizer.param_groups[0]["lr"] == schedule.rates[0]


def test_the_table_has_the_columns_of_the_csv(
    searched: lr.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = searched.trials()
    with (searched.output / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(table.columns) == list(rows[0])  # type: ignore[union-attr]
    assert [float(row["value"]) for row in rows] == list(table.value)  # type: ignore[union-attr]
    monkeypatch.setitem(sys.modules, "pandas", None)
    plain = searched.trials()
    assert isinstance(plain, list)
    assert [row["value"] for row in plain] == list(table.value)  # type: ignore[union-attr]


def test_figures_are_those_of_the_report_by_name(searched: lr.Study) -> None:
    drawn, missing = {}, {}
    for name in PLOTS:
        try:
            drawn[name] = searched.plot(name)
        except lr.UserError as error:
            missing[name] = str(error)
    assert {"lr", "curves", "spent", "space"} <= drawn.keys()
    assert {"range_test", "confirmed"} <= missing.keys()
    assert all(isinstance(figure, Figure) for figure in drawn.values())
    assert all("nothing to show" in words and "curves" in words for words in missing.values())
    with pytest.raises(lr.UserError, match=r"curves.*rates"):
        searched.plot("loss")


def test_the_report_is_written_where_it_is_asked_for(searched: lr.Study, tmp_path: Path) -> None:
    assert searched.report() == searched.output / "report.html"
    page = searched.report(tmp_path / "new" / "page.html")
    assert "<html" in page.read_text()
    with pytest.raises(lr.UserError, match="cannot write"):
        searched.report(tmp_path / "new" / "page.html" / "inside.html")


def test_the_best_trials_weights_are_its_own(searched: lr.Study) -> None:
    weights = searched.best_weights()
    assert weights["lr"].item() == searched.best.recipe.lr
    assert weights["lr"].dtype is torch.float64


def test_studies_are_found_by_name_and_missing_ones_are_said(
    searched: lr.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{searched.output.parent.parent / 'mine.db'}"
    assert lr.load_study("mine", url).best == searched.best
    monkeypatch.setenv("LRSEARCH_STORAGE", url)
    assert lr.load_study("mine").best == searched.best
    with pytest.raises(lr.UserError, match="there: mine"):
        lr.load_study("yours", url)
    with pytest.raises(lr.UserError, match="nowhere"):
        lr.load_study("mine", f"sqlite:///{os.devnull}x/nowhere.db")


def test_a_study_without_a_complete_trial_says_so(own_folder: Path) -> None:
    study = lr.create_study(lr.Space(lr=0.1), name="empty", n_trials=2)
    assert len(study.trials()) == 0
    for action in (lambda: study.best, study.best_weights):
        with pytest.raises(lr.UserError, match="no complete trial"):
            action()


def test_trials_are_never_taken_away(searched: lr.Study) -> None:
    with pytest.raises(lr.UserError, match="extend: -1 is below 0"):
        searched.extend(-1)
