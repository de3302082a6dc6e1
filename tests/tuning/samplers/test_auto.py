"""The sampler, on studies of Optuna's in memory."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState
from scipy.special import log_ndtr
from scipy.stats import norm

from lrsearch.recipe import Recipe
from lrsearch.registry import ComponentConfig
from lrsearch.space.domains import Choices, FloatRange, PowersOfTwo
from lrsearch.space.space import Space
from lrsearch.tuning.forecast import Peer, Standing
from lrsearch.tuning.samplers import SamplerInputs, build_sampler
from lrsearch.tuning.samplers.joint import JointSpace
from lrsearch.tuning.samplers.observations import Observations
from lrsearch.tuning.samplers.score import Score, log_expected_improvement

optuna.logging.set_verbosity(optuna.logging.WARNING)
pytestmark = [
    pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning"),
    pytest.mark.xdist_group("sampling"),  # which shares the study
]

SPACE = Space(
    shared={"lr": FloatRange(1e-4, 1.0, log=True), "batch_size": PowersOfTwo(16, 256)},
    optimizer={"sgd": {"momentum": FloatRange(0.5, 0.99)}, "adamw": {}},
    scheduler={"cosine": {"final": FloatRange(0.0, 0.2)}, "constant": {}},
)


class History:
    """Standings at half time of the trials that were pruned there, and of complete ones."""

    def __init__(self, peers: Sequence[Peer] = ()) -> None:
        self.peers = list(peers)

    def at(self, progress: float, spacing: float) -> Sequence[Peer]:
        return self.peers

    def reached(self) -> Mapping[int, tuple[int, int]]:
        return {peer.number: (5, 10) for peer in self.peers if peer.final is None}


def loss(recipe: Recipe) -> float:
    """Best with AdamW at a rate of 0.01, a cosine, and a small batch."""
    found = abs(math.log10(recipe.lr) + 2) + 0.1 * math.log2(recipe.batch_size / 16)
    return (
        found + 0.5 * (recipe.optimizer.name == "sgd") + 0.3 * (recipe.scheduler.name == "constant")
    )


def asked(
    study: optuna.Study, seed: int = 0, given: Mapping[str, Any] | None = None,
    history: History | None = None, **arguments: Any,
) -> tuple[optuna.Trial, Recipe]:  # fmt: skip
    number = len(study.get_trials(deepcopy=False))
    inputs = SamplerInputs(SPACE, history or History(), given or {}, 3, 1000 * seed + number)
    study.sampler = build_sampler(ComponentConfig("auto", arguments), inputs)
    if given:
        study.enqueue_trial(dict(given))
    trial = study.ask()
    return trial, SPACE.suggest(trial)


def searched(trials: int, seed: int = 0) -> optuna.Study:
    study = optuna.create_study()
    for _ in range(trials):
        trial, recipe = asked(study, seed)
        study.tell(trial, loss(recipe))
    return study


@pytest.fixture(scope="module")
def study() -> optuna.Study:
    return searched(25)


def test_it_finds_the_best_branch_and_rate(study: optuna.Study) -> None:
    assert study.best_trial.params["optimizer"] == "adamw"
    assert study.best_trial.params["scheduler"] == "cosine"
    assert study.best_value < 0.15


def test_by_how_much_the_best_is_to_be_beaten_goes_in_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gains: dict[int, float] = {}

    class Remembers(Score):
        def __init__(self, joint: JointSpace, seen: Observations, gain: float) -> None:
            gains[len(seen.known)] = gain
            super().__init__(joint, seen, gain)

    monkeypatch.setattr("lrsearch.tuning.samplers.score.Score", Remembers)
    searched(13)
    gain_of_turn = [0.3, 0.1, 0.03, 0.0]
    assert gains == {trials: gain_of_turn[trials % 4] for trials in range(6, 13)}


def test_a_seed_gives_the_same_search(study: optuna.Study) -> None:
    again = searched(12)
    assert [t.params for t in again.trials] == [t.params for t in study.trials[:12]]


def test_it_begins_in_the_middle_and_then_spreads_over_the_branches(study: optuna.Study) -> None:
    first = study.trials[0].params
    assert first["lr"] == pytest.approx(1e-2)
    branches = {(t.params["optimizer"], t.params["scheduler"]) for t in study.trials[:6]}
    assert len(branches) == 4


def test_what_is_given_stays_and_the_rest_fits_it(study: optuna.Study) -> None:
    copy = optuna.create_study()
    copy.add_trials(study.trials)
    _, recipe = asked(copy, given={"optimizer": "sgd", "scheduler": "constant"})
    assert (recipe.optimizer.name, recipe.scheduler.name) == ("sgd", "constant")
    _, recipe = asked(copy, given={"sgd.momentum": 0.9})
    assert recipe.optimizer.arguments["momentum"] == 0.9


def test_running_trials_are_not_proposed_again(study: optuna.Study) -> None:
    copy = optuna.create_study()
    copy.add_trials(study.trials)
    recipes = [asked(copy)[1] for _ in range(4)]  # none is told
    assert len({recipe.describe() for recipe in recipes}) == 4


def test_settings_that_break_are_avoided() -> None:
    """Large batches with large rates break, whatever else; there the loss would be the best."""
    study = optuna.create_study()
    broken = []
    for _ in range(30):
        trial, recipe = asked(study)
        breaks = recipe.lr > 0.1
        broken.append(breaks)
        if breaks:
            trial.set_user_attr("status", "diverged")
            study.tell(trial, state=TrialState.PRUNED)
        else:
            study.tell(trial, -math.log10(recipe.lr))
    assert any(broken)
    assert sum(broken[-12:]) <= 5


def test_it_learns_from_pruned_trials() -> None:
    """Complete trials are few and bad; pruned ones show where it would have been good."""
    rng = np.random.default_rng(0)
    study, peers = optuna.create_study(), []
    for number in range(24):
        trial, recipe = asked(study, n_startup_trials=100)
        value = loss(recipe)
        complete = number % 4 == 0
        standing = Standing(value + 1.0 + 0.02 * rng.normal(), value + 1.2, None)
        peers.append(Peer(number, standing, value if complete else None))
        trial.report(standing.value, 5)
        if complete:
            study.tell(trial, value)
        else:
            trial.set_user_attr("status", "pruned")
            study.tell(trial, state=TrialState.PRUNED)

    def mean_loss(history: History) -> float:
        return float(np.mean([loss(asked(study, seed, history=history)[1]) for seed in range(6)]))

    assert mean_loss(History(peers)) < mean_loss(History())


def test_with_very_many_trials_tpe_takes_over() -> None:
    study = searched(3)
    for trial in [optuna.trial.create_trial(state=TrialState.FAIL) for _ in range(310)]:
        study.add_trial(trial)
    _, recipe = asked(study)
    assert recipe.batch_size in (16, 32, 64, 128, 256)


def test_a_space_with_nothing_to_choose() -> None:
    fixed = Space({"lr": Choices((0.1, 0.2)), "batch_size": PowersOfTwo(16, 16)},
                  {"sgd": {}}, {"constant": {}})  # fmt: skip
    study = optuna.create_study()
    for _ in range(9):
        inputs = SamplerInputs(fixed, History(), {}, 0, len(study.trials))
        study.sampler = build_sampler(ComponentConfig("auto"), inputs)
        trial = study.ask()
        study.tell(trial, fixed.suggest(trial).lr)
    assert study.best_value == 0.1


@pytest.mark.parametrize("z", [-40.0, -16.0, -14.0, -5.0, -1.0, 0.0, 3.0])
def test_log_expected_improvement(z: float) -> None:
    (found,) = log_expected_improvement(np.array([-z * 0.5]), np.array([0.5]), 0.0)
    if z > -30:
        expected = math.log(0.5 * (norm.pdf(z) + z * norm.cdf(z)))
        assert found == pytest.approx(expected, abs=0.1)
    else:  # below the density alone, above what would underflow
        assert math.isfinite(found)
        assert found < float(log_ndtr(z)) + math.log(0.5)
