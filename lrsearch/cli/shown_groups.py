"""Which parameters of the model are in which group, for the screen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from lrsearch.cli.display import make_console
from lrsearch.cli.table import text_lines
from lrsearch.data.spec import DataInfo
from lrsearch.optimizers import divide_call_of, group_notes
from lrsearch.recipe import Recipe
from lrsearch.registry import ComponentConfig
from lrsearch.settings import Settings
from lrsearch.space.space import Chooser
from lrsearch.text.formatting import plural

if TYPE_CHECKING:
    from torch import nn

_MOST_NAMES = 3


def model_of(settings: Settings, info: DataInfo | None, recipe: Recipe) -> nn.Module | None:
    """The model of a recipe whose parameter groups depend on it; None of others.

    None, too, where the model is not known: of the user's own objective, and without data.
    """
    if info is None or settings.objective is not None or not recipe.has_groups:
        return None
    from lrsearch.models import build_model

    model = settings.model
    return build_model(model, {**model.arguments, **recipe.model}, info)


def group_lines_of_sweep(settings: Settings, info: DataInfo | None) -> list[str]:
    """Describe the parameter groups of a sweep; searched values are mid-range."""
    space = settings.space
    divides = any(
        divide_call_of(ComponentConfig(option)) for option in {*space.optimizer} - {*space.own}
    )
    if not (space.groups or space.freeze is not None or divides):
        return []
    recipes = [space.recipe(_middle_with({}))]
    recipes += [space.recipe(_middle_with({"optimizer": option})) for option in space.optimizer]
    lines = []
    for recipe in with_groups(recipes):
        model = model_of(settings, info, recipe)
        lines += [] if model is None else group_lines(model, recipe)
    return lines


def _middle_with(given: Mapping[str, Any]) -> Chooser:
    return lambda name, domain: given.get(name, domain.middle())


def with_groups(recipes: Iterable[Recipe]) -> list[Recipe]:
    """The first of the recipes with groups, and the first of each optimizer that divides them."""
    found: dict[object, Recipe] = {}
    for recipe in recipes:
        if recipe.has_groups:
            division = divide_call_of(recipe.optimizer)
            found.setdefault(division and division[0], recipe)
    return list(found.values())


def groups_plain(model: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """The parameter groups as plain values, the frozen parameters last.

    Raises UserError for a rule that matches nothing.
    """
    groups = recipe.parameter_groups(model)
    arguments = recipe.optimizer.arguments
    decays = ["weight_decay"] if "weight_decay" in arguments else []
    own = {"params", "param_names", "lr"}
    found = [
        {
            **{key: arguments[key] for key in decays},
            **{key: value for key, value in group.items() if key not in own},
            "parameters": group["param_names"],
            "numbers": sum(parameter.numel() for parameter in group["params"]),
        }
        for group in groups
    ]
    frozen = {name: p for name, p in model.named_parameters() if not p.requires_grad}
    if frozen:
        numbers = sum(parameter.numel() for parameter in frozen.values())
        found.append({"name": "frozen", "parameters": [*frozen], "numbers": numbers})
    return found


def group_lines(model: nn.Module, recipe: Recipe) -> list[str]:
    """A line for each group: its parameters, their rate and weight decay; and tied parameters."""
    from lrsearch.optimizers.parameter_groups import tied

    rows = [_cells(group) for group in groups_plain(model, recipe)]
    lines = text_lines(rows, make_console().width - 2)
    is_divided = divide_call_of(recipe.optimizer) is not None
    title = f"parameter groups of {recipe.optimizer.name}" if is_divided else "parameter groups"
    notes = group_notes(recipe.optimizer, model, recipe.parameter_groups(model))
    return [title, *(f"  {line}" for line in lines), *notes, *tied(model)]


def _cells(group: Mapping[str, Any]) -> list[str]:
    known = {"name", "lr_factor", "parameters", "numbers"}
    words = [f"lr × {group['lr_factor']:.4g}"] if "lr_factor" in group else []
    words += [
        f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}"
        for key, value in group.items()
        if key not in known
    ]
    names = group["parameters"]
    few = ", ".join([*names[:_MOST_NAMES], *(["..."] if len(names) > _MOST_NAMES else [])])
    count = f"{plural(len(names), 'parameter')}, {group['numbers']:,} numbers"
    return [group["name"], count, ", ".join(words), few]
