"""The optimizers of the catalogue: what they are given, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from lrsearch.cli.compose import load_settings
from lrsearch.errors import ConfigErrors
from lrsearch.optimizers import OPTIMIZERS, merged_parameters
from lrsearch.recipe import Recipe
from lrsearch.registry import ComponentConfig


def recipe(optimizer: ComponentConfig, **changes: Any) -> Recipe:
    return Recipe(0.02, 8, optimizer, ComponentConfig("constant"), **changes)


def weights_after(optimizer: torch.optim.Optimizer, model: nn.Module) -> list[torch.Tensor]:
    """Parameters after three steps on the same data."""
    x = torch.randn(8, 4, generator=torch.Generator().manual_seed(1))
    for _ in range(3):
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()
    return [parameter.detach() for parameter in model.parameters()]


def small_model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 2))


def test_adafactor_is_torchs_with_the_arguments_of_the_recipe() -> None:
    arguments = {"beta2_decay": -0.7, "eps": [1e-6, 1e-2], "d": 2.0, "weight_decay": 0.1}
    mine, theirs = small_model(), small_model()
    optimizer = recipe(ComponentConfig("adafactor", arguments)).build_optimizer(mine)
    given: dict[str, Any] = {**arguments, "eps": (1e-6, 1e-2)}
    reference = torch.optim.Adafactor(theirs.parameters(), lr=0.02, **given)
    pairs = zip(weights_after(optimizer, mine), weights_after(reference, theirs), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_adafactor_has_the_defaults_of_torch() -> None:
    defaults = torch.optim.Adafactor([torch.zeros(1)]).defaults
    parameters = OPTIMIZERS["adafactor"].parameters
    assert {name: one.default for name, one in parameters.items()} == {
        name: defaults[name] for name in parameters
    }


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ([None, 1e-3], None),
        ([1e-30, 0.0], None),
        (1e-8, "1e-08 is not two numbers, such as [null, 0.001]"),
        ([1e-8], "[1e-08] is not two numbers, such as [null, 0.001]"),
        ([1e-8, None], "null is not a number"),
        ([-1.0, 1e-3], "-1.0 is out of range: it must be at least 0"),
    ],
)
def test_a_pair_is_two_numbers_of_which_the_first_may_be_null(
    value: Any, problem: str | None
) -> None:
    said = OPTIMIZERS["adafactor"].parameters["eps"].problem(value)
    assert said == problem if problem is None else said is not None and said.startswith(problem)


# An argument that optimizers of a space understand differently


def space(*overrides: str) -> Any:
    given = ["+sweep=digits", "space.optimizer.only=[adamw,adafactor]", *overrides]
    return load_settings(given).space


def merged(*names: str) -> Any:
    return merged_parameters(OPTIMIZERS[name].parameters for name in names)


def test_one_that_all_take_alike_is_shared() -> None:
    assert merged("adamw", "adagrad")["eps"].problem("much") is not None
    assert merged("adamw", "adafactor")["eps"].problem([None, 1e-3]) is None


def test_one_that_they_take_differently_is_given_to_each() -> None:
    with pytest.raises(ConfigErrors, match=r"space\.eps: adafactor: 1e-06 is not two numbers"):
        space("+space.eps=1e-6")
    found = space("+space.optimizer.adamw.eps=1e-6", "+space.optimizer.adafactor.eps=[null,0.01]")
    assert found.optimizer["adamw"]["eps"].value == 1e-6
    assert found.optimizer["adafactor"]["eps"].value == [None, 0.01]


def test_nor_can_a_group_give_both_the_same() -> None:
    rule = "train.groups=[{name: top, match: head, eps: 1e-6}]"
    with pytest.raises(ConfigErrors, match=r"train\.groups\.top\.eps: adafactor: 1e-06 is not two"):
        space(rule)
    (given,) = load_settings(["+sweep=digits", "space.optimizer.only=[adamw]", rule]).train.groups
    assert given.arguments == {"eps": 1e-6}
    searched = "+space.groups.top.eps={choices: [1e-6, 1e-7]}"
    with pytest.raises(ConfigErrors, match=r"space\.groups\.top\.eps: adafactor: 1e-06 is not two"):
        space("train.groups=[{name: top, match: head}]", searched)
