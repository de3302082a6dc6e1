"""Every component of every registry, and the user's own code in place of one.

The tests walk the registries: a new component is covered without a change here.
"""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from lrsearch.cli.compose import conf_folder, load_settings
from lrsearch.config.load import stored_settings
from lrsearch.errors import ConfigErrors, UserError
from lrsearch.objectives import OBJECTIVES
from lrsearch.parameters.durations import Length
from lrsearch.parameters.parameter import Parameter
from lrsearch.recipe import Recipe
from lrsearch.registries import REGISTRIES
from lrsearch.registry import Component, ComponentConfig, Registry, parameters_of
from lrsearch.tuning.pruners import build_pruner

COMPONENTS = [
    pytest.param(registry, component, id=f"{noun}-{name}")
    for noun, registry in REGISTRIES.items()
    for name, component in registry.items()
]
every_component = pytest.mark.parametrize(("registry", "component"), COMPONENTS)
REPO = Path(__file__).resolve().parents[1]
LENGTH = Length(100, 20, 20)


@every_component
def test_a_component_can_be_loaded_and_says_what_it_is(
    registry: Registry[Any], component: Component
) -> None:
    assert callable(component.load())
    assert component.help
    assert registry[component.name] is component
    for name, parameter in component.parameters.items():
        assert parameter.help, f"{component.name}.{name}"
        assert parameter.required or parameter.problem(parameter.default) is None


@every_component
def test_a_component_is_read_by_its_name_and_from_its_record(
    registry: Registry[Any], component: Component
) -> None:
    problems: list[str] = []
    needed = {name: "a value" for name, one in component.parameters.items() if one.required}
    node = {"name": component.name, **needed} if needed else component.name
    config = registry.read(node, registry.where, problems)
    assert config == ComponentConfig(component.name, needed)
    full = ComponentConfig(component.name, component.complete(needed))
    read = registry.read(full.to_dict(), registry.where, problems)
    assert problems == []
    assert read is not None
    assert ComponentConfig.from_dict(read.to_dict()) == read
    assert registry.component(read) is component


@every_component
def test_an_argument_that_a_component_has_not_is_named(
    registry: Registry[Any], component: Component
) -> None:
    problems: list[str] = []
    assert registry.read({"name": component.name, "thingy": 1}, registry.where, problems) is None
    assert problems[0].startswith(f"{registry.where}.thingy: 'thingy' is unknown")


@pytest.mark.parametrize("name", list(REGISTRIES["scheduler"]))
@pytest.mark.parametrize("optimizer", list(REGISTRIES["optimizer"]))
def test_a_recipe_of_defaults_is_built_and_stored(optimizer: str, name: str) -> None:
    recipe = Recipe(0.1, 8, ComponentConfig(optimizer), ComponentConfig(name))
    built = recipe.build_optimizer(nn.Linear(2, 2))
    assert built.param_groups[0]["lr"] == 0.1
    assert recipe.build_schedule(built, LENGTH).rates
    assert Recipe.from_dict(recipe.to_dict()) == recipe


@pytest.mark.parametrize("noun", ["model", "data", "sampler", "pruner", "logger"])
def test_every_component_of_these_can_be_chosen_on_the_command_line(noun: str) -> None:
    files = {path.stem for path in (conf_folder() / noun).glob("*.yaml")}
    assert set(REGISTRIES[noun]) <= files


def test_the_page_of_the_docs_is_up_to_date() -> None:
    page = runpy.run_path(str(REPO / "docs" / "catalogue.py"))["page"]()
    assert (REPO / "docs" / "catalogue.md").read_text(encoding="utf-8") == page, (
        "run .venv/bin/python docs/catalogue.py"
    )
    for registry in REGISTRIES.values():
        for component in registry.values():
            (row,) = [
                line
                for line in page.partition(f"## {registry.noun.capitalize()}\n")[2].splitlines()
                if line.startswith(f"| `{component.name}` |")
            ][:1]
            assert all(f"`{name}`" in row for name in component.parameters)


# Signatures of user code


def test_the_parameters_of_a_signature() -> None:
    def function(  # type: ignore[no-untyped-def]
        first, rate: float, n: int = 3, on=True, pair=(0.9, 0.99), name: str = "x", free=0, maybe: float | None = None,  # noqa: E501
    ):  # fmt: skip
        ...

    found = parameters_of(function, leading=1)
    assert {name: (one.kind, one.required) for name, one in found.items()} == {
        "rate": ("float", True), "n": ("int", False), "on": ("bool", False),
        "pair": ("list", False), "name": ("text", False), "free": ("any", False),
        "maybe": ("float", False),
    }  # fmt: skip
    assert found["maybe"].problem(None) is None
    assert found["rate"].problem(None) is not None


def test_a_name_of_lrsearch_and_its_arguments_are_left_behind_by_code_of_ones_own() -> None:
    problems: list[str] = []
    node = {"name": "tpe", "_target_": "optuna.samplers.RandomSampler", "seed": 1}
    read = REGISTRIES["sampler"].read(node, "sampler", problems)
    assert read == ComponentConfig.own_code("optuna.samplers.RandomSampler", {"seed": 1})
    assert OBJECTIVES.read("builtin", "objective", problems) == ComponentConfig("builtin")
    assert problems == []


# In a whole configuration


def own(override: str) -> list[str]:
    return ["+sweep=digits", override]


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("sampler={_target_: optuna.samplers.TPESampler, n_starts: 1}", "sampler.n_starts: "),
        ("pruner={_target_: optuna.pruners.Median}", "in module optuna.pruners, 'Median' is unk"),
        ("pruner={_target_: optuna.pruners.PercentilePruner}", "pruner.percentile is missing"),
        ("logger={_target_: nowhere.Log}", "logger: there is no module 'nowhere'"),
        ("sampler={_target_: nodots}", "'nodots' is not a dotted path"),
        ("pruner={_target_: optuna.pruners.PercentilePruner, percentile: much}", "not a number"),
    ],
)
def test_what_code_of_ones_own_does_not_take_is_said_before_the_sweep(
    override: str, said: str
) -> None:
    with pytest.raises(ConfigErrors, match=said.replace(".", r"\.")):
        load_settings(own(override))


def test_code_of_ones_own_is_stored_and_read_without_being_imported() -> None:
    settings = load_settings(own("sampler={_target_: optuna.samplers.RandomSampler, seed: 3}"))
    assert settings.sampler == ComponentConfig.own_code(
        "optuna.samplers.RandomSampler", {"seed": 3}
    )
    plain = {**settings.plain, "sampler": {"_target_": "gone.Sampler", "seed": 3}}
    read = stored_settings(plain)
    assert read.sampler == ComponentConfig.own_code("gone.Sampler", {"seed": 3})


def test_what_is_no_pruner_is_refused() -> None:
    arguments = {"kind": "int", "default": 1}
    config = ComponentConfig.own_code("lrsearch.parameters.parameter.Parameter", arguments)
    with pytest.raises(UserError, match=r"BasePruner, not Parameter"):
        build_pruner(config, 5, "min")


def test_a_parameter_that_is_required_takes_no_null() -> None:
    assert Parameter("float", None).problem(None) is None
    assert Parameter("float", None, required=True).problem(None) is not None
