"""Optuna's storage, as lrsearch uses it: contracts with the installed version."""

from __future__ import annotations

import optuna
import pytest
from optuna.samplers import RandomSampler
from optuna.trial import TrialState

from lrsearch.study.trials import UNIT, RunningTrial, Studies, Trials


@pytest.fixture
def trials(studies: Studies) -> Trials:
    studies.create("one", "min", "val_loss")
    return studies.trials("one", optuna.pruners.MedianPruner(n_startup_trials=1))


def stored(url: str) -> list[optuna.trial.FrozenTrial]:
    return optuna.load_study(study_name="one", storage=url).get_trials()


def start(trials: Trials, unit: int, **params: float) -> RunningTrial:
    return trials.start(unit, params, RandomSampler(0))


def test_a_study_is_made_once_and_found_by_name(studies: Studies) -> None:
    assert studies.find("one") is None
    study_id = studies.create("one", "max", "val_accuracy")
    assert studies.find("one") == study_id == studies.create("one", "max", "val_accuracy")


def test_a_trial_carries_its_unit_from_birth_and_takes_given_parameters(
    trials: Trials, url: str
) -> None:
    trial = start(trials, 7, lr=0.25)
    assert trial.suggester.suggest_float("lr", 0.1, 1.0) == 0.25
    assert 0 <= trial.suggester.suggest_float("other", 0.0, 1.0) <= 1
    found = stored(url)[0]
    assert found.state == TrialState.RUNNING
    assert found.user_attrs[UNIT] == 7
    assert found.params["lr"] == 0.25
    assert trials.find(7) == trial.trial_id
    assert trials.find(8) is None


def test_an_interrupted_trial_is_taken_over_under_its_own_number_from_its_start(
    trials: Trials, url: str
) -> None:
    trial = start(trials, 0)
    lr = trial.suggester.suggest_float("lr", 0.1, 1.0)
    trial.report(0.9, 1)
    trials.wait(trial.trial_id)
    assert stored(url)[0].state == TrialState.WAITING
    again = trials.take_over(trial.trial_id, RandomSampler(99))
    assert again is not None
    assert again.number == trial.number
    assert again.suggester.suggest_float("lr", 0.1, 1.0) == lr
    assert stored(url)[0].intermediate_values == {}
    again.report(0.8, 1)
    again.finish("complete", 0.8, feasible=True)
    assert [(t.state, t.value, t.intermediate_values) for t in stored(url)] == [
        (TrialState.COMPLETE, 0.8, {1: 0.8})
    ]


def test_a_running_trial_of_a_dead_worker_is_taken_over_too(trials: Trials, url: str) -> None:
    trial = start(trials, 0)
    again = trials.take_over(trial.trial_id, RandomSampler(0))
    assert again is not None
    assert len(stored(url)) == 1


def test_a_finished_trial_is_not_taken_over_but_read(trials: Trials) -> None:
    trial = start(trials, 0)
    trial.annotate({"status": "complete"})
    trial.finish("complete", 0.5, feasible=True)
    assert trials.take_over(trial.trial_id, RandomSampler(0)) is None
    assert trials.ending(trial.trial_id) == ("complete", 0.5, None)
    trials.wait(trial.trial_id)  # changes nothing
    trials.fail(trial.trial_id, "late")
    assert trials.ending(trial.trial_id) == ("complete", 0.5, None)


def test_a_trial_that_does_not_work_is_pruned_infeasible_and_never_best(
    trials: Trials, url: str
) -> None:
    good, bad = start(trials, 0), start(trials, 1)
    bad.report(0.001, 1)
    bad.finish("pruned", 0.001, feasible=False)
    good.finish("complete", 0.5, feasible=True)
    study = optuna.load_study(study_name="one", storage=url)
    assert study.best_trial.number == good.number
    assert study.trials[bad.number].constraints == {"works": 1.0}
    assert study.trials[good.number].constraints == {"works": -1.0}


def test_the_pruner_sees_what_others_have_finished(trials: Trials) -> None:
    first = start(trials, 0)
    first.report(0.1, 1)
    assert not first.should_prune()
    first.finish("complete", 0.1, feasible=True)
    second = start(trials, 1)
    second.report(0.9, 1)
    assert second.should_prune()


def test_a_failed_trial_keeps_its_reason(trials: Trials, url: str) -> None:
    trial = start(trials, 0)
    trials.fail(trial.trial_id, "its worker died 3 times")
    found = stored(url)[0]
    assert (found.state, found.user_attrs["reason"]) == (TrialState.FAIL, "its worker died 3 times")
