"""MLflow's own reading of what a sweep has logged, from a real store."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from lrsearch.errors import UserError
from lrsearch.loggers import LoggedTrial, build_logger, mlflow, prepare_logger
from lrsearch.registry import ComponentConfig

HPARAMS = {"lr": 0.1, "scheduler": "cosine"}


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    pytest.importorskip("mlflow", reason="pip install 'lrsearch[mlflow]'")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    return (tmp_path / "mlruns").as_uri()


def logged(
    store: str, first: int, last: int, is_new: bool = True, outcome: str | None = None
) -> None:
    open_log = build_logger(ComponentConfig("mlflow", {"uri": store}))
    assert open_log is not None
    log = open_log(LoggedTrial("digits", 1, 3, is_new, HPARAMS))
    for step in range(first, last + 1):
        log.log(step, {"val_loss": 1.0 / step, "lr": 0.1})
    if outcome is not None:
        log.end(outcome, "val_loss", 0.25)
    log.close()


def runs(store: str) -> tuple[Any, list[Any]]:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=store)
    experiment = client.get_experiment_by_name("digits")
    assert experiment is not None
    return client, list(client.search_runs([experiment.experiment_id]))


def test_a_trial_is_a_run_with_its_curves_and_its_recipe(store: str) -> None:
    logged(store, 1, 4, outcome="complete")
    client, (run,) = runs(store)
    assert run.info.run_name == "trial-0003"
    assert run.info.status == "FINISHED"
    assert run.data.params == {"lr": "0.1", "scheduler": "cosine"}
    history = client.get_metric_history(run.info.run_id, "val_loss")
    assert sorted(metric.step for metric in history) == [1, 2, 3, 4]
    assert run.data.metrics["trial_val_loss"] == 0.25


@pytest.mark.parametrize(
    ("outcome", "status"), [("pruned", "KILLED"), ("diverged", "KILLED"), ("failed", "FAILED")]
)
def test_a_run_ends_as_its_trial_did(store: str, outcome: str, status: str) -> None:
    logged(store, 1, 1, outcome=outcome)
    _, (run,) = runs(store)
    assert (run.info.status, run.data.tags["lrsearch.outcome"]) == (status, outcome)


def test_a_takeover_goes_on_in_the_same_run_without_steps_that_are_there_twice(store: str) -> None:
    logged(store, 1, 4)
    logged(store, 3, 6, is_new=False, outcome="complete")
    client, (run,) = runs(store)
    history = client.get_metric_history(run.info.run_id, "val_loss")
    assert sorted(metric.step for metric in history) == [1, 2, 3, 4, 5, 6]


def test_a_server_that_is_not_there_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow", reason="pip install 'lrsearch[mlflow]'")
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", raising=False)
    tries = []

    def experiment_id(client: Any, name: str) -> str:
        tries.append(os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"])
        return str(client.get_experiment_by_name(name))

    monkeypatch.setattr(mlflow, "_experiment_id", experiment_id)
    with pytest.raises(UserError, match=r"logger=mlflow cannot be used: .*go without: logger=none"):
        prepare_logger(ComponentConfig("mlflow", {"uri": "http://127.0.0.1:1"}), "digits")
    assert tries == ["1"]
    assert "MLFLOW_HTTP_REQUEST_MAX_RETRIES" not in os.environ
