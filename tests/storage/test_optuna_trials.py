"""Reading the trials of a study by columns: what Optuna's own storage reads."""

from __future__ import annotations

import math

import optuna
import pytest
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from lrsearch.storage.optuna_trials import ColumnStorage

PARTS = (
    "number", "state", "values", "params", "distributions", "user_attrs", "system_attrs",
    "intermediate_values", "_trial_id",
)  # fmt: skip


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A database with a study of every kind of trial, and another one."""
    url = f"sqlite:///{tmp_path_factory.mktemp('filled') / 'trials.db'}"
    for name in ("one", "other"):
        study = optuna.create_study(
            storage=url, study_name=name, sampler=optuna.samplers.RandomSampler(seed=0)
        )
        for state in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, None):
            trial = study.ask()
            trial.suggest_float("lr", 1e-4, 1.0, log=True)
            trial.suggest_categorical("scheduler", ["step", "cosine"])
            trial.suggest_int("batch", 4, 9)
            trial.set_user_attr("status", str(state))
            trial.set_user_attr("more", {"a": [1, 2]})
            trial.set_constraint("works", -1.0)
            for step, value in enumerate((1.5, math.inf, -math.inf, math.nan, 0.5), 1):
                trial.report(value, step)
            if state is not None:
                study.tell(trial, 0.5 if state == TrialState.COMPLETE else None, state=state)
        study.enqueue_trial({"lr": 0.1})
    return url


def parts(trial: optuna.trial.FrozenTrial) -> str:
    """All of a trial but its moments, as text: nan is not equal to itself."""
    return repr([getattr(trial, name) for name in PARTS])


def test_whole_trials_are_those_that_optuna_reads(filled: str) -> None:
    theirs, ours = RDBStorage(filled), ColumnStorage(filled)
    for study_id in (1, 2):
        expected = theirs.get_all_trials(study_id)
        found = ours.get_all_trials(study_id)
        assert [parts(trial) for trial in found] == [parts(trial) for trial in expected]
        for one, other in zip(found, expected, strict=True):
            assert one.datetime_start == other.datetime_start
            assert one.datetime_complete == other.datetime_complete


def test_of_many_intermediate_values_every_second_one_is_read_counted_from_the_last(
    filled: str,
) -> None:
    storage = ColumnStorage(filled)
    storage.most_values = 4 * 5 // 2
    for trial in storage.get_all_trials(1)[:4]:
        assert list(trial.intermediate_values) == [1, 3, 5]
    storage.most_values = 4 * 5
    for trial in storage.get_all_trials(1)[:4]:
        assert list(trial.intermediate_values) == [1, 2, 3, 4, 5]


def test_only_some_trials_are_read_as_the_cache_asks(filled: str) -> None:
    theirs, ours = RDBStorage(filled), ColumnStorage(filled)
    for states, again, after in (
        (None, set(), 2),
        (None, {1, 2, 4}, 2),
        ((TrialState.COMPLETE, TrialState.WAITING), set(), -1),
        (None, set(), 1000),
    ):
        expected = theirs._get_trials(1, states, again, after)
        found = ours._get_trials(1, states, again, after)
        assert [parts(trial) for trial in found] == [parts(trial) for trial in expected]
    with pytest.raises(KeyError):
        ours.get_all_trials(99)


def test_what_samplers_do_not_look_at_is_left_out(filled: str) -> None:
    storage = ColumnStorage(filled)
    storage.attributes, storage.only_last = ("status",), True
    complete, pruned, *_ = storage.get_all_trials(1)
    assert complete.intermediate_values == {}
    assert pruned.intermediate_values == {5: 0.5}
    assert pruned.last_step == 5
    assert pruned.user_attrs == {"status": str(TrialState.PRUNED)}
    assert pruned.constraints == {"works": -1.0}
