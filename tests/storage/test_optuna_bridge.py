"""Optuna's storage, as lrsearch uses it: contracts with the installed version."""

from __future__ import annotations

from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from lrsearch.registry import ComponentConfig
from lrsearch.space.domains import Suggester
from lrsearch.storage import optuna_bridge
from lrsearch.storage.database import Database
from lrsearch.storage.optuna_bridge import UNIT, Studies
from lrsearch.tuning.samplers import SamplerInputs, build_sampler

FINISHED = 12


def inputs(shared: int, seed: int) -> SamplerInputs:
    """Inputs for samplers of Optuna, which use neither the space nor the history."""
    nothing: Any = None
    return SamplerInputs(nothing, nothing, {}, shared, seed)


def suggest(trial: Suggester) -> dict[str, Any]:
    """A small space with a branch."""
    scheduler = trial.suggest_categorical("scheduler", ["step", "cosine"])
    chosen = {
        "scheduler": scheduler,
        "lr": trial.suggest_float("lr", 1e-4, 1.0, log=True),
        "batch": trial.suggest_int("batch", 4, 9),
        "only": trial.suggest_float("only", 0.5, 0.5),
    }
    if scheduler == "cosine":
        chosen["final"] = trial.suggest_float("final", 0.0, 0.5)
    return chosen


def filled(url: str, name: str) -> optuna.Study:
    """A study with some finished trials, made by Optuna alone."""
    study = optuna.create_study(
        storage=url, study_name=name, sampler=optuna.samplers.RandomSampler(seed=0)
    )
    for _ in range(FINISHED):
        trial = study.ask()
        study.tell(trial, suggest(trial)["lr"])
    return study


@pytest.mark.parametrize("sampler", ["random", "tpe", "qmc", "gp", "cmaes"])
def test_suggestions_are_those_of_optunas_own_trial(
    studies: Studies, database: Database, url: str, sampler: str
) -> None:
    arguments = {} if sampler in ("random", "qmc") else {"n_startup_trials": 3}
    theirs, ours = filled(url, "theirs"), filled(url, "ours")
    theirs.sampler = build_sampler(ComponentConfig(sampler, arguments), inputs(5, 7))
    expected = suggest(theirs.ask())

    with database.session.begin() as session:
        trial_id, number = optuna_bridge.create(session, ours._study_id, slot=3)
    assert number == FINISHED
    built = build_sampler(ComponentConfig(sampler, arguments), inputs(5, 7))
    suggestions = studies.suggestions("ours", trial_id, built, {})
    assert suggest(suggestions) == expected
    assert suggest(suggestions) == expected  # asked again, they stay
    with database.session.begin() as session:
        optuna_bridge.set_parameters(session, trial_id, suggestions.chosen)
    stored = optuna.load_study(study_name="ours", storage=url).trials[number]
    assert stored.params == expected
    assert stored.distributions == theirs.trials[number].distributions


def test_given_parameters_and_those_of_an_earlier_attempt_are_kept(
    studies: Studies, database: Database
) -> None:
    study_id = studies.create("one", "min", "val_loss")
    with database.session.begin() as session:
        trial_id, _ = optuna_bridge.create(session, study_id, slot=0)
    first = studies.suggestions(
        "one", trial_id, build_sampler(ComponentConfig("random"), inputs(0, 1)), {"lr": 0.25}
    )
    chosen = suggest(first)
    assert chosen["lr"] == 0.25
    with database.session.begin() as session:
        optuna_bridge.set_parameters(session, trial_id, first.chosen)
    again = studies.suggestions(
        "one", trial_id, build_sampler(ComponentConfig("random"), inputs(0, 99)), {}
    )
    assert suggest(again) == chosen


def test_a_study_is_made_once_and_found_by_name(studies: Studies) -> None:
    assert studies.find("one") is None
    study_id = studies.create("one", "max", "val_accuracy")
    assert studies.find("one") == study_id == studies.create("one", "max", "val_accuracy")
    studies.delete("one")
    assert studies.find("one") is None


def test_a_trial_that_does_not_work_is_never_best(
    studies: Studies, database: Database, url: str
) -> None:
    study_id = studies.create("one", "min", "val_loss")
    with database.session.begin() as session:
        good, _ = optuna_bridge.create(session, study_id, slot=0)
        bad, _ = optuna_bridge.create(session, study_id, slot=1)
        optuna_bridge.end(session, bad, "diverged", 0.001, {})
        optuna_bridge.end(session, good, "complete", 0.5, {})
    study = optuna.load_study(study_name="one", storage=url)
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE, TrialState.PRUNED]
    assert study.best_trial.user_attrs[UNIT] == 0
    assert study.trials[1].constraints == {"works": 1.0}
