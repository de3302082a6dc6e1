"""What the dashboard's own interface answers about sweeps of lrsearch, over a real socket."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from served_dashboard import Server, clean_environment, serving
from told_sweep import ToldSweep

from lrsearch.states import Outcome
from lrsearch.storage.optuna_bridge import picture_id

TINY = 1e-9
"""A loss better than any other, in trials that must never be best for it."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three studies: with a best trial, with diverged ones alone, and to be maximised."""
    path = tmp_path_factory.mktemp("shown")
    url = f"sqlite:///{path}/lrsearch.db"
    mixed = ToldSweep(url, 8)
    for outcome in (Outcome.DIVERGED, Outcome.OUT_OF_MEMORY, Outcome.PRUNED, Outcome.FAILED):
        mixed.trial(TINY, outcome)
    mixed.trial(0.5), mixed.trial(0.25)
    mixed.begin()
    hopeless = ToldSweep(url, 3, "study.name=hopeless")
    for outcome in (Outcome.DIVERGED, Outcome.OUT_OF_MEMORY):
        hopeless.trial(TINY, outcome)
    hopeless.trial(None, Outcome.DIVERGED, evaluations=0)
    highest = ToldSweep(url, 3, "study.name=highest", "metric.name=val_accuracy", "metric.mode=max")
    highest.trial(0.75), highest.trial(0.5), highest.trial(1e9, Outcome.DIVERGED)
    for sweep in (mixed, hopeless, highest):
        sweep.close()
    return path


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    with serving(folder, clean_environment()) as server:
        yield server


def detail(server: Server, name: str) -> dict[str, Any]:
    studies = json.loads(server.ask("GET", "/api/studies")[2])["study_summaries"]
    (study_id,) = [study["study_id"] for study in studies if study["study_name"] == name]
    found: dict[str, Any] = json.loads(server.ask("GET", f"/api/studies/{study_id}")[2])
    return found


def test_a_trial_that_did_not_run_to_its_end_is_never_best_whatever_its_value(
    server: Server,
) -> None:
    mixed = detail(server, "digits")
    assert [(trial["number"], trial["values"]) for trial in mixed["best_trials"]] == [(5, [0.25])]
    assert {trial["state"] for trial in mixed["trials"][:4]} == {"Pruned", "Fail"}
    highest = detail(server, "highest")
    assert [trial["values"] for trial in highest["best_trials"]] == [[0.75]]


def test_a_study_in_which_every_trial_diverged_has_no_best(server: Server) -> None:
    hopeless = detail(server, "hopeless")
    assert len(hopeless["trials"]) == 3
    assert hopeless["best_trials"] == []


def test_the_metric_has_its_name_and_trials_have_columns(server: Server) -> None:
    mixed = detail(server, "digits")
    assert mixed["objective_names"] == ["val_loss"]
    assert detail(server, "highest")["objective_names"] == ["val_accuracy"]
    columns = {column["key"] for column in mixed["union_user_attrs"]}
    assert {"recipe", "scheduler", "status", "epochs", "final lr", "seconds"} <= columns
    (best,) = mixed["best_trials"]
    values = {one["key"]: one["value"] for one in best["user_attrs"]}
    assert (values["status"], values["epochs"], values["final lr"]) == ("complete", "3.0", "0.025")


def test_the_picture_of_a_trial_is_served_to_this_origin_alone(server: Server) -> None:
    mixed = detail(server, "digits")
    (best,) = mixed["best_trials"]
    (artifact,) = best["artifacts"]
    path = f"/artifacts/{best['study_id']}/{best['trial_id']}/{artifact['artifact_id']}"
    status, headers, body = server.ask("GET", path)
    assert (status, headers["content-type"]) == (200, "image/png")
    assert body.startswith(b"\x89PNG")
    assert not [name for name in headers if name.startswith("access-control")]
    assert headers["cross-origin-resource-policy"] == "same-origin"
    status, headers, body = server.ask("GET", path, Origin="http://evil.example")
    assert status == 403
    assert b"PNG" not in body


def test_a_picture_is_not_found_under_the_address_of_another_trial(server: Server) -> None:
    mixed = detail(server, "digits")
    first, second = mixed["trials"][:2]
    path = f"/artifacts/{first['study_id']}/{first['trial_id']}/{picture_id(second['trial_id'])}"
    assert server.ask("GET", path)[0] == 404


def test_pages_leave_no_warnings_of_optuna_in_the_terminal(folder: Path) -> None:
    with serving(folder, clean_environment()) as server:
        studies = json.loads(server.ask("GET", "/api/studies")[2])["study_summaries"]
        for study in studies:
            for page in ("param_importances", "plot/contour", "plot/parallel_coordinate"):
                server.ask("GET", f"/api/studies/{study['study_id']}/{page}")
        server.process.send_signal(signal.SIGINT)
        said = server.process.communicate(timeout=30)[1]
    assert "Warning" not in said
    assert "[W " not in said
