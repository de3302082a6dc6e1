"""Search spaces: how they are written, what they suggest, and what can be tried first."""

from __future__ import annotations

import random
from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrsearch.optimizers import OPTIMIZERS
from lrsearch.optimizers.group_rules import GroupRule
from lrsearch.parameters.durations import Length
from lrsearch.recipe import Recipe
from lrsearch.schedules.families import SCHEDULERS
from lrsearch.space.domains import Choices, Fixed, FloatRange, IntRange, PowersOfTwo
from lrsearch.space.names import as_written
from lrsearch.space.parse import parse_space, settle_kinds
from lrsearch.space.space import Coupling, Space

BASE: dict[str, Any] = {
    "lr": {"low": 0.001, "high": 1.0, "log": True},
    "batch_size": {"low": 16, "high": 64, "type": "power_of_two"},
    "optimizer": {"sgd": {"momentum": {"low": 0.8, "high": 0.99}}},
    "scheduler": {"constant": {}, "cosine": {"final": {"low": 0.0, "high": 0.1}}},
}


def parse(coupling: Coupling | None = None, **changes: Any) -> Space:
    problems: list[str] = []
    space = parse_space({**BASE, **changes}, coupling or Coupling(), problems)
    assert problems == []
    assert space is not None
    return space


def problems_of(**changes: Any) -> str:
    problems: list[str] = []
    assert parse_space({**BASE, **changes}, Coupling(), problems) is None
    return "\n".join(problems)


def suggest(space: Space, **params: Any) -> tuple[Recipe, dict[str, Any]]:
    """The recipe, and what was stored, for a trial with these values where it asks for them."""
    trial = optuna.trial.FixedTrial(params)
    recipe = space.suggest(trial)
    return recipe, {name: params[name] for name in trial.distributions}


# How domains are written


@pytest.mark.parametrize(
    ("written", "domain"),
    [
        ({"low": 0.1, "high": 1}, FloatRange(0.1, 1.0)),
        ({"low": 0.1, "high": 1.0, "log": True, "points": 3}, FloatRange(0.1, 1.0, True, None, 3)),
        ({"low": 1, "high": 2, "step": 0.5}, FloatRange(1.0, 2.0, step=0.5)),
        ({"choices": [0.1, 0.2]}, Choices((0.1, 0.2))),
        ([0.1, 0.2], Choices((0.1, 0.2))),
        ({"choices": [0.1]}, Fixed(0.1)),
        ({"value": 0.1}, Fixed(0.1)),
        (0.1, Fixed(0.1)),
        ({"value": 0.1, "low": None, "high": None}, Fixed(0.1)),
    ],
)
def test_a_rate_is_written_as_range_choices_or_value(written: Any, domain: Any) -> None:
    assert parse(lr=written).shared["lr"] == domain


@pytest.mark.parametrize(
    ("written", "domain"),
    [
        ({"low": 16, "high": 64, "type": "power_of_two"}, PowersOfTwo(16, 64)),
        ({"low": 10, "high": 100, "step": 10}, IntRange(10, 100, step=10)),
        ({"low": 10, "high": 100, "log": True}, IntRange(10, 100, log=True)),
        ([32, 100], Choices((32, 100))),
    ],
)
def test_a_batch_size_is_a_whole_number(written: Any, domain: Any) -> None:
    assert parse(batch_size=written).shared["batch_size"] == domain


def test_an_argument_of_the_model_is_whole_where_its_bounds_are() -> None:
    space = parse(model={"depth": {"low": 1, "high": 4}, "dropout": {"low": 0.0, "high": 1}})
    assert space.shared["model.depth"] == IntRange(1, 4)
    assert space.shared["model.dropout"] == FloatRange(0.0, 1.0)


def test_null_takes_a_parameter_away() -> None:
    assert "warmup" not in parse(warmup=None).shared


def test_only_narrows_a_branch_without_repeating_it() -> None:
    space = parse(scheduler={**BASE["scheduler"], "only": ["cosine", "step"]})
    assert list(space.scheduler) == ["cosine", "step"]
    assert space.scheduler["cosine"] == {"final": FloatRange(0.0, 0.1)}
    assert space.scheduler["step"] == {}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"lr": {"low": 1, "high": 0.1}}, "space.lr: low 1 is above high 0.1"),
        ({"lr": {"low": 0, "high": 1, "log": True}}, "space.lr.low: 0 is not above 0"),
        ({"lr": {"low": 0.1}}, "space.lr: high is missing"),
        ({"lr": {"low": "a", "high": 1}}, "space.lr.low: 'a' is not a number"),
        ({"lr": {"lo": 0.1, "high": 1}}, "'lo' is unknown; did you mean low?"),
        ({"lr": {"low": -1, "high": 1}}, "space.lr: -1.0 is out of range"),
        ({"lr": {"choices": []}}, "space.lr.choices: [] is not a list of values"),
        ({"lr": {"choices": [1, 1]}}, "has a value twice"),
        ({"lr": "fast"}, "space.lr: 'fast' is not a number"),
        ({"lr": {"low": 0.1, "high": 1, "log": "yes"}}, "space.lr.log: 'yes' is not true or false"),
        ({"lr": {"low": 0.1, "high": 1, "points": 0}}, "space.lr.points: 0 is not at least 1"),
        ({"lr": {"low": 0.1, "high": 1, "type": "flaot"}}, "did you mean float?"),
        ({"batch_size": {"low": 30, "high": 64, "type": "power_of_two"}}, "did you mean 32?"),
        ({"batch_size": {"low": 1.5, "high": 64}}, "space.batch_size.low: 1.5 is not a whole"),
        ({"batch_size": None}, "space.batch_size is missing"),
        ({"lr": None}, "space.lr is missing"),
        ({"warmup": {"low": 0, "high": 5}}, "space.warmup: 5.0 is above 1: did you mean 5ep"),
        ({"momentun": 0.9}, "did you mean momentum?"),
        ({"scheduler": {"only": ["cosin"]}}, "space.scheduler.only: 'cosin' is unknown"),
        ({"scheduler": {"cosin": {}}}, "did you mean cosine?"),
        ({"scheduler": {"step": {"gama": 0.1}}}, "did you mean gamma?"),
        ({"scheduler": {"step": {"step_size": 30}}}, "did you mean 30ep"),
        ({"scheduler": {"step": {"gamma": {"low": 0.1, "high": 3}}}}, "3.0 is out of range"),
        ({"scheduler": {"multistep": {"milestones": {"low": 0, "high": 1}}}}, "has no range"),
        ({"scheduler": "cosine"}, "write space.scheduler.only=[cosine]"),
        ({"scheduler": {"only": []}}, "no scheduler is left"),
        (
            {"optimizer": {"sgd": {"warmup": 0}}, "scheduler": {"step": {"warmup": 0}}},
            "both optimizer.sgd and scheduler.step have their own warmup",
        ),
    ],
)
def test_a_wrong_space_is_refused_with_the_key_and_the_value(
    changes: dict[str, Any], said: str
) -> None:
    assert said in problems_of(**changes)


def test_all_problems_are_reported_together() -> None:
    said = problems_of(lr={"low": 2, "high": 1}, warmup=7, scheduler={"only": ["x"]})
    assert len(said.splitlines()) >= 3


# Layers


@pytest.mark.parametrize(
    ("layers", "left"),
    [
        ([{"low": 1, "high": 2}, {"choices": [1]}], {"choices": [1]}),
        ([{"low": 1, "high": 2}, {"value": 3}], {"value": 3}),
        ([{"value": 3}, {"low": 1, "high": 2}], {"low": 1, "high": 2}),
        ([{"low": 1, "high": 2}, {"choices": [1]}, {"high": 5}], {"low": 1, "high": 5}),
        ([{"choices": [1, 2]}, {"value": 1}, {"choices": [3]}], {"choices": [3]}),
        ([{"low": 1, "high": 2, "log": True}, {"high": 3}], {"low": 1, "high": 3, "log": True}),
    ],
)
def test_the_last_layer_that_says_a_kind_replaces_the_others(
    layers: list[dict[str, Any]], left: dict[str, Any]
) -> None:
    merged: dict[str, Any] = {}
    for layer in layers:
        merged |= layer
    space = {"optimizer": {"sgd": {"lr": dict(merged)}}, "lr": dict(merged)}
    settle_kinds(space, [{"lr": layer, "optimizer": {"sgd": {"lr": layer}}} for layer in layers])
    assert space == {"optimizer": {"sgd": {"lr": left}}, "lr": left}


# What is suggested


def test_parameters_of_a_branch_are_asked_for_on_that_branch_alone() -> None:
    space = parse()
    values = {"lr": 0.1, "log2_batch_size": 5, "sgd.momentum": 0.9, "cosine.final": 0.05}
    recipe, stored = suggest(space, scheduler="cosine", **values)
    assert set(stored) == {"scheduler", *values}
    assert (recipe.lr, recipe.batch_size) == (0.1, 32)
    assert recipe.scheduler.arguments["final"] == 0.05
    _, stored = suggest(space, scheduler="constant", **values)
    assert "cosine.final" not in stored


def test_a_branch_with_its_own_range_stores_it_under_its_own_name() -> None:
    own = {"sgd": {}, "adamw": {"lr": {"low": 1e-5, "high": 1e-2, "log": True}}}
    space = parse(optimizer=own, scheduler={"constant": {}})
    recipe, stored = suggest(
        space, **{"optimizer": "adamw", "adamw.lr": 0.001, "log2_batch_size": 4}
    )
    assert recipe.lr == 0.001
    assert "lr" not in stored
    recipe, stored = suggest(space, optimizer="sgd", lr=0.5, log2_batch_size=4)
    assert recipe.lr == 0.5
    assert "adamw.lr" not in stored


def test_a_shared_argument_goes_to_the_optimizers_that_take_it() -> None:
    space = parse(
        momentum={"low": 0.5, "high": 0.9},
        optimizer={"sgd": {}, "adam": {}},
        scheduler={"constant": {}},
    )
    known = {"lr": 0.1, "log2_batch_size": 4, "momentum": 0.7}
    recipe, stored = suggest(space, optimizer="sgd", **known)
    assert recipe.optimizer.arguments["momentum"] == 0.7
    _, stored = suggest(space, optimizer="adam", **known)
    assert "momentum" not in stored


@pytest.mark.parametrize(("rule", "factor"), [("sqrt", 2.0), ("linear", 4.0)])
def test_coupling_searches_the_rate_at_the_reference_and_reports_both(
    rule: Any, factor: float
) -> None:
    space = parse(Coupling(rule, reference=16), scheduler={"constant": {}})
    recipe, stored = suggest(space, **{"lr_ref": 0.1, "log2_batch_size": 6, "sgd.momentum": 0.9})
    assert "lr" not in stored
    assert recipe.lr_ref == 0.1
    assert recipe.lr == pytest.approx(0.1 * factor)


def test_lists_can_be_choices() -> None:
    space = parse(scheduler={"multistep": {"milestones": {"choices": [[0.3, 0.6], [0.5]]}}})
    known = {"lr": 0.1, "log2_batch_size": 4, "sgd.momentum": 0.9}
    recipe, _ = suggest(space, **known, **{"multistep.milestones": "[0.5]"})
    assert recipe.scheduler.arguments["milestones"] == [0.5]


# Grid


def test_a_grid_has_every_combination_once_branches_included() -> None:
    space = parse(
        lr={"low": 0.01, "high": 1.0, "log": True, "points": 3},
        optimizer={"sgd": {"momentum": [0.0, 0.9]}, "adam": {}},
        scheduler={"constant": {}, "step": {"gamma": [0.1, 0.5]}},
    )
    grid = list(space.grid())
    # 3 batch sizes × 3 rates × (2 momenta + 1) × (1 + 2 gammas)
    assert len(grid) == 3 * 3 * 3 * 3
    assert len({tuple(sorted(point.items())) for point in grid}) == len(grid)
    assert {round(point["lr"], 9) for point in grid} == {0.01, 0.1, 1.0}
    assert not [p for p in grid if p["optimizer"] == "adam" and "sgd.momentum" in p]


def test_a_grid_point_is_what_a_trial_needs_to_be_that_point() -> None:
    space = parse(
        lr=[0.1, 0.2], optimizer={"sgd": {"momentum": [0.0, 0.9]}}, scheduler={"step": {}}
    )
    for point in space.grid():
        recipe, stored = suggest(space, **point)
        assert stored == point
        assert recipe.lr == point["lr"]


def test_a_grid_over_a_range_without_points_says_what_to_add() -> None:
    with pytest.raises(ValueError, match=r"space\.lr: .*add `points: 5`"):
        list(parse().grid())


# Tried first


def test_a_setting_tried_first_is_checked_against_the_space() -> None:
    space = parse()
    params, problems = space.parameters_for({"lr": 0.5, "scheduler": "cosine", "batch_size": 32})
    assert problems == []
    assert params == {"lr": 0.5, "scheduler": "cosine", "log2_batch_size": 5}


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"lr": 5.0}, "lr: 5.0 is outside 0.001 to 1"),
        ({"batch_size": 33}, "batch_size: 33 is not one of 16, 32, 64"),
        ({"scheduler": "step"}, "scheduler: 'step' is not one of constant, cosine"),
        ({"scheduler": "constant", "cosine.final": 0.05}, "cosine.final: no such parameter here"),
        (
            {"scheduler": "constant", "final": 0.05},
            "final: no such parameter here: cosine.final goes with another optimizer or scheduler",
        ),
        ({"schedular": "cosine"}, "did you mean scheduler?"),
        ({"optimizer": "adam"}, "is not 'sgd', the value it is fixed to"),
    ],
)
def test_a_setting_outside_the_space_is_named(wanted: dict[str, Any], said: str) -> None:
    _, problems = parse().parameters_for(wanted)
    assert said in "\n".join(problems)


TWO_OPTIMIZERS = {
    "sgd": {"momentum": 0.9},
    "adamw": {"lr": {"low": 1e-5, "high": 0.03, "log": True}},
}


def test_a_setting_that_fits_one_branch_alone_implies_it() -> None:
    space = parse(optimizer=TWO_OPTIMIZERS)
    assert space.implied({"lr": 0.1, "cosine.final": 0.0}) == {
        "optimizer": ("sgd", "lr"),
        "scheduler": ("cosine", "cosine.final"),
    }
    params, problems = space.parameters_for({"lr": 0.1, "cosine.final": 0.0})
    assert problems == []
    assert params == {"lr": 0.1, "cosine.final": 0.0, "optimizer": "sgd", "scheduler": "cosine"}
    for nothing in ({}, {"batch_size": 32}, {"optimizer": "sgd", "lr": 0.1}, {"typo": 1}):
        assert space.implied(nothing) == {}
    assert parse().implied({"lr": 0.1}) == {}  # there is no other optimizer


def test_a_parameter_of_another_branch_is_looked_for_under_its_owner() -> None:
    _, problems = parse(optimizer=TWO_OPTIMIZERS).parameters_for({"optimizer": "adamw", "lr": 0.02})
    assert "did you mean adamw.lr?" in "\n".join(problems)


def test_parameters_are_shown_as_they_are_written() -> None:
    params, _ = parse().parameters_for({"batch_size": 32, "lr": 0.1})
    assert as_written(params) == {"batch_size": 32, "lr": 0.1}


# Laws

names = st.sampled_from(sorted(SCHEDULERS))


@st.composite
def spaces(draw: st.DrawFn) -> Space:
    """Any space: some optimizers and families, each parameter fixed, listed or ranged."""

    def domain(parameter: Any) -> Any:
        low = parameter.low if parameter.low > -1e9 else 0.0
        high = min(parameter.high, low + 2.0)
        if parameter.kind == "float":
            low = low + 1e-3 if parameter.open_low else low
            a, b = sorted((draw(st.floats(low, high)), draw(st.floats(low, high))))
            return {"low": a, "high": b}
        if parameter.kind == "duration":
            a, b = sorted((draw(st.floats(0, 1)), draw(st.floats(0, 1))))
            return draw(st.sampled_from([{"low": a, "high": b}, "1ep", "3st", b]))
        if parameter.kind == "int":
            return {"low": int(low), "high": int(low) + draw(st.integers(0, 3))}
        if parameter.kind == "choice":
            return {"choices": list(parameter.choices)}
        return None

    def branch(catalogue: dict[str, Any]) -> dict[str, Any]:
        options = draw(st.lists(st.sampled_from(sorted(catalogue)), min_size=1, max_size=4))
        return {
            option: {name: domain(p) for name, p in catalogue[option].parameters.items()}
            for option in set(options)
        }

    plain = {
        "lr": {"low": draw(st.floats(1e-6, 1e-3)), "high": draw(st.floats(1e-3, 10)), "log": True},
        "batch_size": {"low": 1, "high": 256, "type": "power_of_two"},
        "warmup": {"low": 0.0, "high": draw(st.floats(0, 1))},
        "optimizer": branch(OPTIMIZERS),
        "scheduler": branch(SCHEDULERS),
    }
    problems: list[str] = []
    space = parse_space(plain, Coupling(draw(st.sampled_from(["none", "sqrt"]))), problems)
    assert problems == []
    assert space is not None
    return space


@settings(max_examples=60, deadline=None)
@given(space=spaces(), seed=st.integers(0, 2**32), n_train=st.integers(1, 3000))
def test_what_is_suggested_always_builds_and_every_rate_is_finite_and_not_negative(
    space: Space, seed: int, n_train: int
) -> None:
    recipe = space.sample(random.Random(seed))
    assert Recipe.from_dict(recipe.to_dict()) == recipe
    length = Length.of(n_train=n_train, batch_size=recipe.batch_size, steps=40)
    rates = recipe.preview(length).rates
    assert len(rates) == length.steps + 1
    assert all(0 <= rate < float("inf") for rate in rates)
    from torch import nn

    recipe.build_optimizer(nn.Linear(1, 1)).step()


@settings(max_examples=25, deadline=None)
@given(space=spaces(), seed=st.integers(0, 1000))
def test_an_optuna_trial_gets_a_recipe_that_its_stored_parameters_give_again(
    space: Space, seed: int
) -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed))
    trial = study.ask()
    recipe = space.suggest(trial)
    assert suggest(space, **trial.params)[0] == recipe


@pytest.mark.parametrize(
    ("stored", "key"),
    [
        ("lr_ref", "space.lr"),
        ("log2_batch_size", "space.batch_size"),
        ("sgd.lr_ref", "space.optimizer.sgd.lr"),
        ("cosine.final", "space.scheduler.cosine.final"),
        ("model.lr_ref", "space.model.lr_ref"),
        ("log2_model.width", "space.model.width"),
    ],
)
def test_each_stored_name_has_its_key_in_the_configuration(stored: str, key: str) -> None:
    assert parse().config_key(stored) == key


# Parameter groups

RULES = (
    GroupRule("head", "head", None, {"lr_factor": 10.0}),
    GroupRule("stem", None, "^conv", {"momentum": 0.5, "weight_decay": 0.0}),
)
TWO = {"sgd": {"momentum": 0.9}, "adamw": {}}


def grouped(groups: dict[str, Any], problems: list[str], **changes: Any) -> Space | None:
    return parse_space(
        {**BASE, **changes, "groups": groups}, Coupling(), problems, groups=RULES, freeze="bias$"
    )


def test_a_value_of_a_group_is_searched_under_its_name() -> None:
    space = grouped({"head": {"lr_factor": {"low": 1, "high": 20, "log": True}}}, [])
    assert space is not None
    trial = {"lr": 0.1, "log2_batch_size": 5, "sgd.momentum": 0.9, "groups.head.lr_factor": 4.0}
    recipe, stored = suggest(space, **trial, scheduler="constant")
    assert stored["groups.head.lr_factor"] == 4.0
    assert [dict(rule.arguments) for rule in recipe.groups] == [
        {"lr_factor": 4.0},
        {"momentum": 0.5, "weight_decay": 0.0},
    ]
    assert recipe.freeze == "bias$"
    assert "groups.head.lr_factor" in space.names()
    assert space.parameters_for({"groups.head.lr_factor": 30.0})[1] != []


def test_an_argument_of_a_group_is_asked_for_with_optimizers_that_take_it() -> None:
    momentum = {"stem": {"momentum": {"low": 0.1, "high": 0.9}, "eps": [1e-8, 1e-6]}}
    space = grouped(momentum, [], optimizer=TWO)
    assert space is not None
    found = {
        optimizer: [name for name in space._reached({"optimizer": optimizer}) if "stem" in name]
        for optimizer in TWO
    }
    assert found == {"sgd": ["groups.stem.momentum"], "adamw": ["groups.stem.eps"]}


def test_values_of_groups_make_a_grid() -> None:
    fixed = {"lr": 0.1, "batch_size": 16, "optimizer": {"sgd": {}}, "scheduler": {"constant": {}}}
    space = grouped({"head": {"lr_factor": [1.0, 3.0]}}, [], **fixed)
    assert space is not None
    assert list(space.grid()) == [
        {"groups.head.lr_factor": 1.0},
        {"groups.head.lr_factor": 3.0},
    ]


@pytest.mark.parametrize(
    ("groups", "said"),
    [
        ({"haed": {"lr_factor": 2}}, "did you mean head?"),
        ({"haed": {"lr_factor": 2}}, "train.groups=[head, stem, {name: haed, match: ...}]"),
        ({"head": {"lr": 2}}, "space.groups.head: 'lr' is unknown"),
        ({"head": 3}, "space.groups.head: 3 is not a mapping"),
        ({"head": {"lr_factor": -1}}, "space.groups.head.lr_factor: -1 is out of range"),
        ({"head": {"betas": {"value": [0.9, 0.9]}}}, "'betas' is unknown"),
        (3, "space.groups: 3 is not a mapping"),
    ],
)
def test_a_wrong_search_of_groups_is_told(groups: Any, said: str) -> None:
    problems: list[str] = []
    assert grouped(groups, problems) is None
    assert said in "\n".join(problems)


def test_a_rule_whose_argument_no_optimizer_of_the_space_takes_is_told() -> None:
    problems: list[str] = []
    assert grouped({}, problems, optimizer={"adamw": {}}) is None
    assert "train.groups.stem.momentum: 'momentum' is unknown" in "\n".join(problems)


def test_what_is_searched_is_named_as_users_write_it() -> None:
    space = parse(Coupling("sqrt", 128), warmup=0.1, optimizer={"sgd": {"momentum": 0.9}})
    assert space.searched == {"lr", "batch_size", "cosine.final"}
