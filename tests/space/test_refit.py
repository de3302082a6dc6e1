"""A recipe from another space: the same training, or the reason why not."""

from __future__ import annotations

import random
from typing import Any

import pytest

from lrsearch.cli.compose import load_settings
from lrsearch.recipe import Recipe
from lrsearch.registry import ComponentConfig
from lrsearch.space.refit import refit
from lrsearch.space.space import Space

RECIPE = Recipe(
    lr=0.1, batch_size=64, warmup=0.1,
    optimizer=ComponentConfig("sgd", {"momentum": 0.9, "nesterov": True, "weight_decay": 1e-4}),
    scheduler=ComponentConfig("cosine", {"final": 0.05}),
)  # fmt: skip


def space(*overrides: str) -> Space:
    return load_settings(["+sweep=digits", *overrides]).space


@pytest.mark.parametrize("overrides", [(), ("coupling.rule=sqrt",), ("space.model.dropout=[0,1]",)])
def test_every_recipe_of_a_space_fits_it(overrides: tuple[str, ...]) -> None:
    own = space(*overrides)
    rng = random.Random(0)
    for _ in range(50):
        recipe = own.sample(rng)
        parameters, problems = refit(own, recipe)
        assert problems == []
        again = own.recipe(lambda name, domain, p=parameters: _chosen(p, name, domain))
        assert again.lr == pytest.approx(recipe.lr, rel=1e-9)
        assert (again.optimizer, again.scheduler) == (recipe.optimizer, recipe.scheduler)


def _chosen(parameters: dict[str, Any], name: str, domain: Any) -> Any:
    if f"log2_{name}" in parameters:
        return 1 << parameters[f"log2_{name}"]
    return parameters.get(name, domain.ends()[0])


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (("space.lr.high=0.05",), "lr: 0.1 is outside"),
        (("space.optimizer.only=[adamw]",), "optimizer: 'sgd' is not"),
        (("space.scheduler.only=[step,linear]",), "scheduler: 'cosine' is not one of"),
        (("space.scheduler.cosine.final=0.0",), "cosine.final: 0.05 is not 0.0"),
        (("space.grad_clip=1.0",), "grad_clip: null is not 1.0"),
        (("space.warmup=null",), "warmup was 0.1 and is 0 here"),
        (("space.optimizer.sgd.nesterov=null",), "optimizer.nesterov was true"),
        (("space.batch_size.low=128",), "batch_size: 64 is not one of 128"),
    ],
)
def test_what_does_not_fit_is_named(overrides: tuple[str, ...], said: str) -> None:
    _, problems = refit(space(*overrides), RECIPE)
    assert said in problems[0]


def test_a_rate_is_carried_over_a_change_of_coupling() -> None:
    parameters, problems = refit(space("coupling.rule=linear", "coupling.reference=128"), RECIPE)
    assert problems == []
    assert parameters["lr_ref"] == pytest.approx(0.2)
