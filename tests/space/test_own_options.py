"""Optimizers and schedulers of the user's own as options of a space."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from torch import nn

from lrsearch.cli.compose import load_settings
from lrsearch.config.load import stored_settings, with_space
from lrsearch.errors import ConfigErrors, OwnCodeError, UserError
from lrsearch.optimizers.build import check_optimizer
from lrsearch.recipe import Recipe
from lrsearch.registry import ComponentConfig
from lrsearch.settings import Settings
from lrsearch.space.domains import Fixed, FloatRange

LION = (
    "space.optimizer.lion={_target_: pytorch_optimizer.Lion, betas: [0.9, 0.98], "
    "lr: {low: 1e-5, high: 1e-3, log: true}, fixed_decay: {choices: [true, false]}}"
)


def load(*overrides: str) -> Settings:
    return load_settings(["+sweep=digits", *overrides])


def test_one_is_searched_beside_those_of_the_catalogue() -> None:
    space = load(LION, "space.optimizer.only=[adamw,lion]").space
    assert list(space.optimizer) == ["adamw", "lion"]
    assert space.optimizer["lion"]["lr"] == FloatRange(1e-5, 1e-3, log=True)
    assert space.optimizer["lion"]["betas"] == Fixed([0.9, 0.98])
    recipes = [space.sample(random.Random(seed)) for seed in range(20)]
    assert {recipe.optimizer.name for recipe in recipes} == {"adamw", "lion"}
    for recipe in recipes:
        assert Recipe.from_dict(recipe.to_dict()) == recipe
        kind = type(recipe.build_optimizer(nn.Linear(2, 2))).__name__
        assert kind == {"adamw": "AdamW", "lion": "Lion"}[recipe.optimizer.name]


def test_what_optimizers_share_is_its_own_where_its_signature_has_it() -> None:
    both = load(LION, "space.optimizer.only=[adamw,lion]").space
    assert both.optimizer["lion"]["weight_decay"] == both.shared["weight_decay"]
    alone = load(LION, "space.optimizer.only=[lion]").space
    assert "weight_decay" in alone.optimizer["lion"]
    assert "weight_decay" not in alone.shared


def test_what_is_stored_reads_the_same_without_the_package() -> None:
    settings = load(LION, "space.optimizer.only=[adamw,lion]")
    node = settings.plain["space"]["optimizer"]["lion"]
    gone = {**settings.plain["space"], "optimizer": {
        **settings.plain["space"]["optimizer"], "lion": {**node, "_target_": "gone.Lion"},
    }}  # fmt: skip
    read = stored_settings({**settings.plain, "space": gone}).space
    assert (read.shared, read.optimizer) == (settings.space.shared, settings.space.optimizer)
    assert read.own["lion"] == ComponentConfig("lion", {}, "gone.Lion")


@pytest.mark.parametrize("only", ["lion", "adamw,lion"])
def test_a_group_with_an_argument_that_only_it_takes_is_read_back(only: str) -> None:
    settings = load(
        LION, f"space.optimizer.only=[{only}]",
        "train.groups=[{name: a, match: bias, fixed_decay: true}, {name: b, match: weight}]",
        "+space.groups.b.fixed_decay={choices: [true, false]}",
    )  # fmt: skip
    assert stored_settings(settings.plain).space == settings.space
    assert with_space(settings, settings.plain["space"]).space == settings.space


def test_a_setting_of_it_can_be_tried_first() -> None:
    space = load(LION, "space.optimizer.only=[adamw,lion]").space
    parameters, problems = space.parameters_for({"optimizer": "lion", "lion.lr": 1e-4})
    assert problems == []
    assert parameters == {"optimizer": "lion", "lion.lr": 1e-4}
    assert space.config_key("lion.lr") == "space.optimizer.lion.lr"


@pytest.mark.parametrize(
    ("node", "said"),
    [
        ("{_target_: torch.optim.LBFGS}", "space.optimizer.mine: .* needs a closure"),
        ("{_target_: pytorch_optimizer.Lion, weigth_decay: 0}", "did you mean weight_decay"),
        ("{_target_: torch.optim.SGD, weigth: 0}", "space.optimizer.mine.weigth: 'weigth' is unk"),
        ("{_target_: torch.optim.SGD, momentum: high}", "mine.momentum: 'high' is not a number"),
        ("{_target_: torch.optim.SGD, nesterov: {low: 0, high: 1}}", "a bool has no range"),
        ("{_target_: torch.optim.Sgd}", "in module torch.optim, 'Sgd' is unknown"),
        ("{_target_: nodots}", "'nodots' is not a dotted path"),
        ("{_target_: torch.nn.Linear}", "does not take lr|lr: 'lr' is unknown|is missing"),
    ],
)
def test_what_cannot_be_used_is_refused_with_the_reason(node: str, said: str) -> None:
    with pytest.raises(ConfigErrors, match=said):
        load(f"space.optimizer.mine={node}", "space.optimizer.only=[mine]")


@pytest.mark.parametrize("name", ["adamw", "cosine", "lr", "model", "groups", "log2_x"])
def test_its_name_is_a_word_of_its_own(name: str) -> None:
    target = f"space.optimizer.{name}={{_target_: torch.optim.SGD}}"
    with pytest.raises(ConfigErrors, match=f"{name} .*: give yours another name"):
        load(target, f"space.optimizer.only=[{name}]")


def test_a_duration_of_a_scheduler_is_marked_and_recorded() -> None:
    cosine = (
        "space.scheduler.mine={_target_: torch.optim.lr_scheduler.CosineAnnealingLR, "
        "T_max: {low: 0.5, high: 1.0, duration: true}}"
    )
    space = load(cosine, "space.scheduler.only=[mine]").space
    assert space.own["mine"].durations == ("T_max",)
    assert space.parameter("mine.T_max").kind == "duration"
    recipe = space.sample(random.Random(0))
    assert recipe.scheduler.durations == ("T_max",)
    assert Recipe.from_dict(recipe.to_dict()) == recipe


def test_schedule_free_optimizers_step() -> None:
    check_optimizer(ComponentConfig.own_code("schedulefree.AdamWScheduleFree"), 0.01)


def needs_more(params: Any, lr: float) -> torch.optim.Optimizer:
    return torch.optim.LBFGS(params, lr=lr)


def no_optimizer(params: Any, lr: float) -> str:
    return "none"


class Breaks(torch.optim.SGD):
    def step(self, closure: Any = None) -> Any:
        raise ValueError("not today")


@pytest.mark.parametrize(
    ("name", "error", "said"),
    [
        ("needs_more", UserError, "needs a closure"),
        ("no_optimizer", UserError, "must return a torch.optim.Optimizer, not str"),
        ("Breaks", OwnCodeError, "not today"),
    ],
)
def test_one_is_built_and_steps_once_before_the_sweep(
    name: str, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        check_optimizer(ComponentConfig.own_code(f"{__name__}.{name}"), 0.1)


def takes_groups(groups: Any, lr: float) -> torch.optim.Optimizer:
    return torch.optim.SGD([{"params": group["params"]} for group in groups], lr=lr)


def test_it_is_given_parameter_groups_in_the_check_as_in_a_training() -> None:
    config = ComponentConfig.own_code(f"{__name__}.takes_groups")
    check_optimizer(config, 0.1)
    recipe = Recipe(lr=0.1, batch_size=8, optimizer=config, scheduler=ComponentConfig("cosine"))
    assert recipe.build_optimizer(nn.Linear(2, 2)).param_groups[0]["lr"] == 0.1
