"""A recipe: one frozen object that builds, previews, serialises and describes itself."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import nn

from lrsearch.errors import UserError
from lrsearch.optimizers import OPTIMIZERS
from lrsearch.optimizers.group_rules import GroupRule
from lrsearch.parameters.durations import Length
from lrsearch.recipe import Recipe
from lrsearch.registry import ComponentConfig
from lrsearch.text.yaml import to_yaml

LENGTH = Length(steps=20, steps_per_epoch=10, steps_per_evaluation=10)


def recipe(**changes: Any) -> Recipe:
    known: dict[str, Any] = {
        "lr": 0.1,
        "batch_size": 32,
        "optimizer": ComponentConfig("sgd", {"momentum": 0.9}),
        "scheduler": ComponentConfig("cosine"),
    }
    return Recipe(**(known | changes))


class TwoLayers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(3, 4)
        self.head = nn.Linear(4, 2)


@pytest.mark.parametrize("name", list(OPTIMIZERS))
def test_every_optimizer_is_built_with_its_rate_and_takes_a_step(name: str) -> None:
    model = TwoLayers()
    optimizer = recipe(optimizer=ComponentConfig(name)).build_optimizer(model)
    assert type(optimizer).__name__ == OPTIMIZERS[name].path.rpartition(".")[2]
    assert {group["lr"] for group in optimizer.param_groups} == {0.1}
    before = model.body.weight.clone()
    model.head(model.body(torch.ones(1, 3))).sum().backward()
    optimizer.step()
    assert not torch.equal(before, model.body.weight)


def test_arguments_of_the_optimizer_reach_it() -> None:
    part = ComponentConfig("sgd", {"momentum": 0.7, "nesterov": True, "weight_decay": 0.01})
    group = recipe(optimizer=part).build_optimizer(TwoLayers()).param_groups[0]
    assert (group["momentum"], group["nesterov"], group["weight_decay"]) == (0.7, True, 0.01)


def test_nesterov_without_momentum_is_plain_sgd() -> None:
    part = ComponentConfig("sgd", {"momentum": 0.0, "nesterov": True})
    assert recipe(optimizer=part).build_optimizer(TwoLayers()).param_groups[0]["nesterov"] is False


HEAD = GroupRule("head", "head", None, {"lr_factor": 10.0})


def test_a_rule_makes_a_group_of_the_optimizer() -> None:
    optimizer = recipe(groups=(HEAD,)).build_optimizer(TwoLayers())
    assert [(group["name"], group["lr"]) for group in optimizer.param_groups] == [
        ("default", 0.1),
        ("head", 1.0),
    ]


def test_rules_and_frozen_parameters_need_the_model() -> None:
    model = TwoLayers()
    for made in (recipe(groups=(HEAD,)), recipe(freeze="body")):
        with pytest.raises(UserError, match="give build_optimizer the model"):
            made.build_optimizer(model.parameters())
    assert len(recipe().build_optimizer(model.parameters()).param_groups[0]["params"]) == 4


@pytest.mark.parametrize("name", list(OPTIMIZERS))
def test_every_optimizer_takes_a_group_that_is_empty(name: str) -> None:
    rule = GroupRule("all", None, ".", {"lr_factor": 0.5})
    model = TwoLayers()
    optimizer = recipe(optimizer=ComponentConfig(name), groups=(rule,)).build_optimizer(model)
    lengths = [len(group["params"]) for group in optimizer.param_groups]
    assert (lengths[0], sum(lengths)) == (0, 4)
    before = model.body.weight.clone()
    model.head(model.body(torch.ones(1, 3))).sum().backward()
    optimizer.step()
    assert not torch.equal(before, model.body.weight)


def test_a_frozen_part_is_frozen_in_the_model() -> None:
    model = TwoLayers()
    optimizer = recipe(freeze=r"^body\.").build_optimizer(model)
    assert [p.requires_grad for p in model.parameters()] == [False, False, True, True]
    assert len(optimizer.param_groups[0]["params"]) == 2


def test_frozen_parameters_are_left_out() -> None:
    model = TwoLayers()
    model.body.requires_grad_(False)
    assert len(recipe().build_optimizer(model).param_groups[0]["params"]) == 2


def test_a_schedule_drives_the_optimizer_it_was_built_on() -> None:
    optimizer = recipe().build_optimizer(TwoLayers())
    schedule = recipe().build_schedule(optimizer, LENGTH)
    for _ in range(LENGTH.steps):
        optimizer.step()
        schedule.step()
    assert optimizer.param_groups[0]["lr"] == 0.0


def test_a_recipe_survives_json_and_yaml() -> None:
    original = recipe(
        scheduler=ComponentConfig("multistep", {"milestones": ["5ep", 0.7]}),
        warmup="100st",
        grad_clip=1.0,
        groups=(HEAD, GroupRule("mine", None, "^body", {"weight_decay": 0.0})),
        freeze="bias$",
        lr_ref=0.05,
        model={"dropout": 0.1},
        data={"noise": 0.2},
    )
    assert Recipe.from_dict(json.loads(json.dumps(original.to_dict()))) == original
    assert Recipe.from_dict(yaml.safe_load(original.to_yaml())) == original


def test_defaults_are_written_out_so_that_a_stored_recipe_keeps_its_meaning() -> None:
    stored = recipe(scheduler=ComponentConfig("step")).to_dict()
    assert stored["scheduler"] == {"name": "step", "step_size": 0.3, "gamma": 0.1}


def test_a_recipe_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        recipe().lr = 1.0  # type: ignore[misc]


def test_a_line_describes_what_differs_from_the_defaults() -> None:
    words = recipe(warmup=0.05, model={"dropout": 0.25}).describe()
    assert words == "sgd(momentum=0.9) lr=0.1 batch=32 cosine warmup=0.05 model.dropout=0.25"
    faster = GroupRule("head", "head", None, {"lr_factor": 5.0})
    grouped = recipe(groups=(faster, GroupRule("no_decay", "no_decay")), freeze="^body")
    assert grouped.describe().endswith("cosine head(lr_factor=5) no_decay freeze=^body")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"lr": 0.0}, "lr: 0.0 is out of range: it must be above 0"),
        ({"lr": float("nan")}, "lr: nan is not a finite number"),
        ({"batch_size": 0}, "batch_size: 0 is out of range"),
        ({"warmup": 30}, "did you mean 30ep"),
        ({"grad_clip": -1.0}, "grad_clip: -1.0 is out of range"),
        ({"optimizer": ComponentConfig("sdg")}, "'sdg' is unknown; did you mean sgd?"),
        (
            {"optimizer": ComponentConfig("adam", {"momentum": 0.9})},
            "adam.momentum: 'momentum' is unknown",
        ),
        (
            {"scheduler": ComponentConfig("step", {"step_size": 30})},
            "step.step_size: 30 is above 1",
        ),
        (
            {"scheduler": ComponentConfig("plateau", {"mode": "low"})},
            "'low' is not one of auto, min, max",
        ),
        ({"scheduler": ComponentConfig("lambda", {"formula": "x"})}, "'x' is unknown in a formula"),
        ({"scheduler": ComponentConfig("piecewise", {"points": [[0, -1]]})}, "-1 is not a factor"),
        (
            {"scheduler": ComponentConfig("multistep", {"milestones": 0.5})},
            "not a list of durations",
        ),
        ({"optimizer": ComponentConfig("adam", {"betas": [0.9, 1.0]})}, "is not two numbers"),
    ],
)
def test_what_cannot_be_built_is_refused_in_words(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as refused:
        recipe(**changes)
    assert said in str(refused.value)


def test_a_rule_that_does_not_fit_the_optimizer_is_refused() -> None:
    rule = GroupRule("mine", None, "^body", {"betas": [0.9, 0.99]})
    with pytest.raises(UserError, match=r"groups\.mine\.betas: 'betas' is unknown"):
        recipe(groups=(rule,))
    with pytest.raises(UserError, match=r"freeze: '\(' is not a regular expression"):
        recipe(freeze="(")


def test_unknown_and_missing_keys_of_a_stored_recipe_are_named_together() -> None:
    with pytest.raises(UserError) as refused:
        Recipe.from_dict({"lr": 0.1, "optimizer": "sgd", "sheduler": "step", "batch_size": 3})
    assert "did you mean scheduler?" in str(refused.value)
    assert "scheduler is missing" in str(refused.value)


def test_a_recipe_is_read_from_a_file(tmp_path: Path) -> None:
    wanted = Recipe(0.1, 32, ComponentConfig("sgd"), ComponentConfig("cosine"), warmup="1ep")
    alone, best = tmp_path / "recipe.yaml", tmp_path / "best.yaml"
    alone.write_text(wanted.to_yaml())
    best.write_text(to_yaml({"recipe": wanted.to_dict(), "seed": 3}))
    assert Recipe.from_file(alone) == Recipe.from_file(best) == wanted
    best.write_text("recipe: {lr: 0.1}")
    with pytest.raises(UserError, match=r"best\.yaml: .*\n.*batch_size is missing"):
        Recipe.from_file(best)


def test_the_optimizer_and_the_schedule_are_built_together() -> None:
    wanted = Recipe(0.1, 32, ComponentConfig("sgd"), ComponentConfig("cosine"), warmup="1ep")
    optimizer, schedule = wanted.build(torch.nn.Linear(2, 1), steps=20, epochs=2)
    expected = wanted.preview(LENGTH).rates
    for rate in expected[:-1]:
        assert optimizer.param_groups[0]["lr"] == rate
        optimizer.step()
        schedule.step()
    assert schedule.rates == expected[-1:]
    with pytest.raises(UserError, match="either length, or steps"):
        wanted.build(torch.nn.Linear(2, 1), steps=20, length=LENGTH)


def test_a_line_shows_what_differs_from_the_defaults() -> None:
    assert recipe().describe() == "sgd(momentum=0.9) lr=0.1 batch=32 cosine"


def test_a_line_shows_all_that_was_searched_default_or_not() -> None:
    searched = {"lr", "warmup", "grad_clip", "weight_decay", "sgd.nesterov", "cosine.final"}
    line = recipe().describe(searched)
    assert line == (
        "sgd(momentum=0.9, nesterov=False, weight_decay=0) lr=0.1 batch=32 cosine(final=0) "
        "warmup=0 clip=none"
    )
    assert recipe().describe({"cosine.warmup"}).endswith("cosine warmup=0")
    # What another optimizer or scheduler has is not of this recipe.
    assert recipe().describe({"adamw.weight_decay", "step.gamma"}) == recipe().describe()


def test_a_line_shows_the_searched_arguments_of_a_group() -> None:
    rule = GroupRule("head", "head", None, {"lr_factor": 10.0})
    assert recipe(groups=(rule,)).describe().endswith(" head")
    line = recipe(groups=(rule,)).describe({"groups.head.lr_factor"})
    assert line.endswith(" head(lr_factor=10)")
