"""The joint space: every branch as columns, and back."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from lrsearch.cli.catalogue import conf_folder
from lrsearch.space.parse import parse_space
from lrsearch.space.space import Coupling, Space
from lrsearch.tuning.samplers.joint import JointSpace, Points

SEEDS = st.integers(0, 100_000)


def space(**changes: Any) -> Space:
    plain: Any = OmegaConf.to_container(OmegaConf.load(conf_folder() / "space" / "default.yaml"))
    plain["model"] = {"width": {"choices": [64, 128, 256]}, "dropout": {"low": 0.0, "high": 0.5}}
    problems: list[str] = []
    found = parse_space(plain | changes, Coupling(), problems)
    assert found is not None, problems
    return found


SPACE = space()
JOINT = JointSpace(SPACE)


def parameters(seed: int) -> dict[str, Any]:
    """Those of a random trial, as they are stored."""
    rng, stored = random.Random(seed), {}

    def choose(name: str, domain: Any) -> Any:
        value = domain.sample(rng)
        stored.update(domain.stored(name, value))
        return value

    SPACE.recipe(choose)
    return stored


@given(SEEDS)
@settings(deadline=None)
def test_a_trial_becomes_a_point_and_the_same_trial_again(seed: int) -> None:
    wanted = parameters(seed)
    points, rows = JOINT.points([wanted])
    assert rows == [0]
    found = JOINT.values(int(points.branch[0]), points.unit[0])
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        assert found[name] == (pytest.approx(value) if isinstance(value, float) else value)


@given(SEEDS)
@settings(deadline=None)
def test_any_point_is_a_setting_of_the_space(seed: int) -> None:
    rng = np.random.default_rng(seed)
    branch = int(rng.integers(len(JOINT.branches)))
    chosen = JOINT.values(branch, rng.choice([0.0, 0.5, 1.0, rng.random()], len(JOINT.keys)))
    for name, distribution in JOINT.distributions.items():
        if name in chosen:
            assert distribution._contains(distribution.to_internal_repr(chosen[name])), name
    SPACE.suggest(Told(chosen))


@given(SEEDS)
@settings(deadline=None)
def test_snapping_changes_nothing_that_is_stored_and_is_final(seed: int) -> None:
    rng = np.random.default_rng(seed)
    branch = rng.integers(len(JOINT.branches), size=20)
    points = Points(branch, rng.random((20, len(JOINT.keys))))
    snapped = JOINT.snapped(points)
    again = JOINT.snapped(snapped)
    assert again.unit == pytest.approx(snapped.unit)
    for k in range(20):
        before = JOINT.values(int(branch[k]), points.unit[k])
        after = JOINT.values(int(branch[k]), snapped.unit[k])
        assert after == {
            name: pytest.approx(value) if isinstance(value, float) else value
            for name, value in before.items()
        }


def test_what_branches_share_has_one_column() -> None:
    assert JOINT.keys.count("lr") == 1
    assert JOINT.keys.count("final") == 1
    by_branch = {
        (one["optimizer"], one["scheduler"]): own
        for one, own in zip(JOINT.branches, JOINT.parameters, strict=True)
    }
    assert "lr" in by_branch["sgd", "cosine"]
    assert "adamw.lr" in by_branch["adamw", "cosine"]
    assert JOINT.column("lr") == JOINT.column("adamw.lr")
    assert JOINT.column("cosine.final") == JOINT.column("linear.final")
    assert JOINT.column("step.gamma") != JOINT.column("lr")


def test_what_a_branch_does_not_have_does_not_move_it() -> None:
    branch = JOINT.branches.index({"optimizer": "adamw", "scheduler": "constant"})
    unit = np.full((2, len(JOINT.keys)), 0.3)
    unit[1, JOINT.column("step.gamma")] = 0.9
    unit[1, JOINT.column("sgd.momentum")] = 0.9
    snapped = JOINT.snapped(Points(np.array([branch, branch]), unit))
    encoded = JOINT.encode(snapped)
    assert encoded[0] == pytest.approx(encoded[1])


def test_a_larger_batch_at_a_larger_rate_has_the_same_temperature() -> None:
    """The column that holds it moves by log(rate / batch)."""
    plain = space(optimizer={"only": ["sgd"], "sgd": {"momentum": 0.9}}, model={})
    joint = JointSpace(plain)
    settings_ = [
        {"lr": 0.02, "log2_batch_size": 6},
        {"lr": 0.04, "log2_batch_size": 7},
        {"lr": 0.04, "log2_batch_size": 6},
    ]
    rest = {"warmup": 0.1, "weight_decay": 1e-4, "scheduler": "constant"}
    points, _ = joint.points([{**one, **rest} for one in settings_])
    encoded = joint.encode(points)
    alike = [
        column
        for column in encoded.T
        if column[0] == pytest.approx(column[1]) and column[2] > column[0] + 0.01
    ]
    assert len(alike) == 1


def test_given_parameters_say_which_branches_are_left() -> None:
    found = JOINT.branches_with({"optimizer": "sgd", "cosine.final": 0.0})
    assert [JOINT.branches[k] for k in found] == [{"optimizer": "sgd", "scheduler": "cosine"}]
    assert len(JOINT.branches_with({})) == len(JOINT.branches)


def test_trials_of_another_space_are_left_out() -> None:
    known = parameters(1)
    _, rows = JOINT.points([{"lr": 0.1}, known, known | {"optimizer": "lion"}])
    assert rows == [1]


class Told:
    """A trial whose parameters are known."""

    def __init__(self, chosen: dict[str, Any]) -> None:
        self.chosen = chosen

    def suggest_float(self, name: str, *_: Any, **__: Any) -> Any:
        return self.chosen[name]

    suggest_int = suggest_categorical = suggest_float


def test_the_branches_in_turn_show_every_option_as_soon_as_can_be() -> None:
    every = list(range(len(JOINT.branches)))
    order = JOINT.in_turn(every, 5)
    assert sorted(order) == every
    schedulers = {branches["scheduler"] for branches in JOINT.branches}
    first = [JOINT.branches[k] for k in order[: len(schedulers)]]
    assert {branches["scheduler"] for branches in first} == schedulers
    optimizers = [branches["optimizer"] for branches in first]
    assert abs(optimizers.count("sgd") - optimizers.count("adamw")) <= 1
