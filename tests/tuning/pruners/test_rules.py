"""The rules decide as Optuna's pruners do that saw the same trials."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from known_trials import (
    HISTORIES,
    MODES,
    TRIALS,
    VALUES,
    WHOLE,
    WHOLE_TRIALS,
    Known,
    KnownPeers,
    running,
)
from optuna.distributions import FloatDistribution
from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    MedianPruner,
    PatientPruner,
    PercentilePruner,
    SuccessiveHalvingPruner,
    ThresholdPruner,
)
from optuna.trial import TrialState, create_trial

from lrsearch.registry import ComponentConfig
from lrsearch.tuning.pruners import build_pruner
from lrsearch.tuning.pruners.rules import Halving, Hyperband, Mode, Percentile, Pruner, Running
from lrsearch.tuning.trajectory import LrTrajectory

optuna.logging.set_verbosity(optuna.logging.WARNING)
pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")

Decided = list[bool]


def ours(
    pruner: Pruner, others: Sequence[Known], history: Sequence[float], unit: int = 0
) -> Decided:
    """What the rule says after each evaluation of a trial."""
    return [
        pruner.should_prune(
            running(history[:now], unit, LrTrajectory(WHOLE, "sgd", 0.1, 64)),
            KnownPeers([*others, Known(tuple(history[:now]), bracket=pruner.bracket(unit))]),
        )
        for now in range(1, len(history) + 1)
    ]


def theirs(
    pruner: BasePruner,
    mode: Mode,
    others: Sequence[Known],
    history: Sequence[float],
    rungs: Sequence[Sequence[int]],
) -> Decided:
    """What Optuna says; `rungs` has the evaluations at which each of the others was weighed."""
    study = optuna.create_study(direction=f"{mode}imize", pruner=pruner)
    for other, weighed in zip(others, rungs, strict=True):
        study.add_trial(
            create_trial(
                state=TrialState.COMPLETE if other.complete else TrialState.PRUNED,
                value=other.values[-1],
                params={"x": 0.0},
                distributions={"x": FloatDistribution(0, 1)},
                intermediate_values=dict(enumerate(other.values, start=1)),
                system_attrs={
                    f"completed_rung_{rung}": other.values[evaluation - 1]
                    for rung, evaluation in enumerate(weighed)
                    if evaluation <= len(other.values)
                },
            )
        )
    trial = study.ask()
    decided = []
    for evaluation, value in enumerate(history, start=1):
        trial.report(value, evaluation)
        decided.append(trial.should_prune())
    return decided


def compare(
    pruner: Pruner, oracle: BasePruner, mode: Mode, others: Sequence[Known], history: Any
) -> None:
    nowhere: list[list[int]] = [[] for _ in others]
    assert ours(pruner, others, history) == theirs(oracle, mode, others, history, nowhere)


@given(MODES, TRIALS, HISTORIES, st.integers(0, 6), st.integers(0, 4))
@settings(deadline=None)
def test_median(
    mode: Mode, others: list[Known], history: tuple[float, ...], startup: int, warmup: int
) -> None:
    arguments = {"n_startup_trials": startup, "n_warmup_steps": warmup}
    pruner = build_pruner(ComponentConfig("median", arguments), WHOLE, mode)
    compare(pruner, MedianPruner(**arguments), mode, others, history)


@given(MODES, TRIALS, HISTORIES, st.floats(0, 100) | st.sampled_from([0, 10, 25, 75, 100]))
@settings(deadline=None)
def test_percentile(
    mode: Mode, others: list[Known], history: tuple[float, ...], percentile: float
) -> None:
    arguments = {"percentile": percentile, "n_startup_trials": 1}
    pruner = build_pruner(ComponentConfig("percentile", arguments), WHOLE, mode)
    compare(pruner, PercentilePruner(**arguments), mode, others, history)


@given(MODES, st.lists(VALUES, min_size=1, max_size=20), st.floats(0, 100))
@settings(deadline=None)
def test_a_value_at_the_percentile_goes_on_whatever_the_rounding(
    mode: Mode, values: list[float], percentile: float
) -> None:
    import numpy

    share = percentile if mode == "min" else 100 - percentile
    limit = float(numpy.percentile(values, share))
    others = [Known((value,), complete=True) for value in values]
    rule = Percentile(mode, percentile, n_startup_trials=1, n_warmup_steps=0)
    worse, better = (math.inf, -math.inf) if mode == "min" else (-math.inf, math.inf)
    history = [math.nextafter(limit, better)], [limit], [math.nextafter(limit, worse)]
    assert [ours(rule, others, one)[-1] for one in history] == [False, False, True]


@given(MODES, WHOLE_TRIALS, HISTORIES, st.integers(0, 4), st.sampled_from([0.0, 0.5, 1.0]))
@settings(deadline=None)
def test_patient(
    mode: Mode,
    others: list[Known],
    history: tuple[float, ...],
    patience: int,
    min_delta: float,
) -> None:
    arguments = {"patience": patience, "min_delta": min_delta}
    pruner = build_pruner(ComponentConfig("patient", arguments), WHOLE, mode)
    compare(pruner, PatientPruner(MedianPruner(), **arguments), mode, others, history)


@given(MODES, HISTORIES, VALUES, VALUES, st.sampled_from(["lower", "upper", "both"]),
       st.integers(0, 4))  # fmt: skip
@settings(deadline=None)
def test_threshold(
    mode: Mode, history: tuple[float, ...], one: float, other: float, which: str, warmup: int
) -> None:
    bounds = {"lower": min(one, other), "upper": max(one, other)}
    chosen = {key: value for key, value in bounds.items() if which in (key, "both")}
    pruner = build_pruner(
        ComponentConfig("threshold", {**chosen, "n_warmup_steps": warmup}), WHOLE, mode
    )
    compare(pruner, ThresholdPruner(**chosen, n_warmup_steps=warmup), mode, [], history)


def rungs(first: int, factor: int) -> list[int]:
    return [first * factor**power for power in range(5)]


@given(MODES, TRIALS, HISTORIES, st.integers(1, 3), st.integers(2, 4))
@settings(deadline=None)
def test_asha(
    mode: Mode, others: list[Known], history: tuple[float, ...], first: int, factor: int
) -> None:
    arguments = {"min_resource": first, "reduction_factor": factor}
    pruner = build_pruner(ComponentConfig("asha", arguments), WHOLE, mode)
    oracle = SuccessiveHalvingPruner(**arguments)
    weighed = [rungs(first, factor) for _ in others]
    assert ours(pruner, others, history) == theirs(oracle, mode, others, history, weighed)


class SameBrackets(HyperbandPruner):
    """Optuna's Hyperband with our assignment of trials to brackets."""

    def __init__(self, rule: Hyperband) -> None:
        super().__init__(rule.min_resource, rule.evaluations, rule.reduction_factor)
        self.rule = rule

    def _get_bracket_id(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> int:
        return self.rule.bracket(trial.number)


@given(MODES, TRIALS, HISTORIES, st.integers(1, 2), st.integers(2, 3))
@settings(deadline=None)
def test_hyperband(
    mode: Mode, others: list[Known], history: tuple[float, ...], first: int, factor: int
) -> None:
    arguments = {"min_resource": first, "reduction_factor": factor}
    pruner = build_pruner(ComponentConfig("hyperband", arguments), WHOLE, mode)
    assert isinstance(pruner, Hyperband)
    others = [
        Known(other.values, other.complete, pruner.bracket(unit))
        for unit, other in enumerate(others)
    ]
    weighed = [rungs(first * factor ** pruner.bracket(unit), factor) for unit in range(len(others))]
    oracle = SameBrackets(pruner)
    mine = ours(pruner, others, history, unit=len(others))
    assert mine == theirs(oracle, mode, others, history, weighed)


@pytest.mark.parametrize(("evaluations", "first", "factor"), [(10, 1, 3), (81, 1, 3), (100, 5, 2)])
def test_brackets_get_units_in_the_proportion_of_optunas_budgets(
    evaluations: int, first: int, factor: int
) -> None:
    rule = Hyperband("min", evaluations, first, factor)
    oracle = HyperbandPruner(first, evaluations, factor)
    oracle._try_initialization(optuna.create_study())
    assert rule.shares() == oracle._trial_allocation_budgets
    units = 20_000
    got = Counter(rule.bracket(unit) for unit in range(units))
    for bracket, share in enumerate(rule.shares()):
        assert got[bracket] / units == pytest.approx(share / sum(rule.shares()), abs=0.02)


def test_brackets_are_counted_without_rounding() -> None:
    # log3 of 243 is 4.999... in floating point.
    assert len(Hyperband("min", 243, 1, 3).shares()) == 6


def test_a_bracket_is_the_same_on_every_machine() -> None:
    rule = Hyperband("min", 10, 1, 3)
    assert "".join(str(rule.bracket(unit)) for unit in range(20)) == "00022100211000001110"


def test_hyperband_with_too_few_evaluations_never_cuts() -> None:
    rule = Hyperband("min", 3, min_resource=4, reduction_factor=2)
    assert rule.shares() == [1]
    assert ours(rule, [Known((0.0,) * 3, bracket=0)] * 9, [1.0, 1.0, 1.0]) == [False] * 3


def test_none_lets_everything_go_on() -> None:
    best = [Known((0.0, 0.0), complete=True)] * 9
    assert ours(build_pruner(ComponentConfig("none"), WHOLE, "min"), best, [1e9, 1e9]) == [
        False,
        False,
    ]


class Vanishing(KnownPeers):
    """Another transaction takes all trials away between two questions."""

    def ranked(self, *_: Any) -> list[float]:
        return []


@pytest.mark.parametrize("rule", [Percentile("min", 50.0, 1, 0), Halving("min", 1, 2)])
def test_a_trial_whose_peers_are_gone_goes_on(rule: Pruner) -> None:
    others = [Known((0.0,), complete=True)] * 9
    assert rule.should_prune(
        running([1.0], 0, LrTrajectory(WHOLE, "sgd", 0.1, 64)), KnownPeers(others)
    )
    assert not rule.should_prune(
        running([1.0], 0, LrTrajectory(WHOLE, "sgd", 0.1, 64)), Vanishing(others)
    )


# Trials that report at moments of their own


def seldom(values: Sequence[float], moments: Sequence[int]) -> Running:
    trajectory = LrTrajectory(WHOLE, "sgd", 0.1, 64)
    return Running(values, moments, moments[-1] / WHOLE, 0, trajectory)


def test_a_trial_that_passes_over_a_rung_is_cut_at_its_next_value() -> None:
    rule, others = Halving("min", 1, 4), KnownPeers([Known((0.0,) * WHOLE)] * 9)
    assert rule.should_prune(seldom([1.0], [3]), others)  # the rung at 1
    assert rule.should_prune(seldom([1.0, 1.0], [3, 6]), others)  # that at 4
    assert not rule.should_prune(seldom([1.0, 1.0, 1.0], [3, 6, 9]), others)


def test_values_are_compared_at_the_same_moment_however_many_there_were() -> None:
    falling = [Known(tuple(1.0 - k / WHOLE for k in range(1, WHOLE + 1)), complete=True)] * 9
    rule = Percentile("min", 50.0, n_startup_trials=1, n_warmup_steps=5)
    assert not rule.should_prune(seldom([0.4], [6]), KnownPeers(falling))
    assert rule.should_prune(seldom([0.5], [6]), KnownPeers(falling))
    assert not rule.should_prune(seldom([0.9], [4]), KnownPeers(falling))  # before moment 5
