"""An Optuna pruner of the user's own decides as it does where Optuna runs the trials."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from known_trials import KnownPeers, running

from lrsearch.errors import OwnCodeError
from lrsearch.registry import ComponentConfig
from lrsearch.tuning.pruners import build_pruner
from lrsearch.tuning.pruners.rules import Curve, Mode
from lrsearch.tuning.trajectory import LrTrajectory

PRUNERS: list[tuple[str, dict[str, Any]]] = [
    ("MedianPruner", {"n_startup_trials": 2}),
    ("PercentilePruner", {"percentile": 25.0, "n_startup_trials": 1}),
    ("SuccessiveHalvingPruner", {"min_resource": 1, "reduction_factor": 2}),
    ("HyperbandPruner", {"min_resource": 1, "max_resource": 6, "reduction_factor": 2}),
]
TRIALS = st.lists(st.lists(st.floats(-1e3, 1e3), min_size=6, max_size=6), min_size=3, max_size=8)


class Curves(KnownPeers):
    """Trials of which a pruner of the user's own is told."""

    def __init__(self, curves: Sequence[Curve]) -> None:
        super().__init__([])
        self._curves = curves

    def curves(self, first: int) -> Sequence[Curve]:
        return [one for one in self._curves if one.number >= first]


def under_optuna(name: str, arguments: dict[str, Any], mode: Mode, trials: list[Any]) -> list[int]:
    """At how many evaluations each trial ends, one after the other."""
    direction = "minimize" if mode == "min" else "maximize"
    pruner = getattr(optuna.pruners, name)(**arguments)
    study = optuna.create_study(direction=direction, pruner=pruner, study_name="lrsearch")
    found = []
    for values in trials:
        trial = study.ask()
        for step, value in enumerate(values, start=1):
            trial.report(value, step)
            if step < len(values) and trial.should_prune():
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                break
        else:
            study.tell(trial, value)
        found.append(step)
    return found


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize(("name", "arguments"), PRUNERS)
@given(trials=TRIALS)
@settings(max_examples=15, deadline=None)
def test_it_ends_trials_where_optuna_does(
    name: str, arguments: dict[str, Any], mode: Mode, trials: list[list[float]]
) -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    config = ComponentConfig.own_code(f"optuna.pruners.{name}", arguments)
    pruner = build_pruner(config, 6, mode)
    done: list[Curve] = []
    for number, values in enumerate(trials):
        outcome = "complete"
        for step in range(1, len(values) + 1):
            known = [(k, value) for k, value in enumerate(values[:step], start=1)]
            going = Curve(number, number, known, None, None)
            trial = running(values[:step], number, LrTrajectory(6, "sgd", 0.1, 32))
            if step < len(values) and pruner.should_prune(trial, Curves([*done, going])):
                outcome = "pruned"
                break
        done.append(Curve(number, number, known, outcome, values[step - 1]))
    assert [len(one.values) for one in done] == under_optuna(name, arguments, mode, trials)


class Broken(optuna.pruners.BasePruner):
    def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
        raise ValueError("no idea")


def test_what_it_raises_is_told_as_the_users_own_error() -> None:
    pruner = build_pruner(ComponentConfig.own_code(f"{__name__}.Broken"), 6, "min")
    trial = running([1.0], 0, LrTrajectory(6, "sgd", 0.1, 32))
    with pytest.raises(OwnCodeError, match="no idea"):
        pruner.should_prune(trial, Curves([Curve(0, 0, [(1, 1.0)], None, None)]))
