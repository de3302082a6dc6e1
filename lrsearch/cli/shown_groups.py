"""Which parameters of the model are in which group, for the screen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lrsearch.data.spec import DataInfo
from lrsearch.recipe import Recipe
from lrsearch.settings import Settings
from lrsearch.text.formatting import plural

if TYPE_CHECKING:
    from torch import nn

_MOST_NAMES = 3


def model_of(settings: Settings, info: DataInfo | None, recipe: Recipe) -> nn.Module | None:
    """The model of a recipe, where it has rules or frozen parameters; None where there are none.

    None, too, where the model is not known: of the user's own objective, and without data.
    """
    if info is None or settings.objective is not None:
        return None
    if not recipe.groups and recipe.freeze is None:
        return None
    from lrsearch.models import build_model

    model = settings.model
    return build_model(model, {**model.arguments, **recipe.model}, info)


def groups_told(settings: Settings, info: DataInfo | None) -> list[str]:
    """The lines on the groups of a sweep, all that is searched in the middle of its range."""
    if not settings.space.groups and settings.space.freeze is None:
        return []
    recipe = settings.space.recipe(lambda name, domain: domain.middle())
    model = model_of(settings, info, recipe)
    return [] if model is None else group_lines(model, recipe)


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
            "numbers": sum(one.numel() for one in group["params"]),
        }
        for group in groups
    ]
    frozen = {name: p for name, p in model.named_parameters() if not p.requires_grad}
    if frozen:
        numbers = sum(one.numel() for one in frozen.values())
        found.append({"name": "frozen", "parameters": [*frozen], "numbers": numbers})
    return found


def group_lines(model: nn.Module, recipe: Recipe) -> list[str]:
    """A line for each group: its parameters, their rate and weight decay; and tied parameters."""
    from lrsearch.optimizers.parameter_groups import tied

    rows = [_cells(group) for group in groups_plain(model, recipe)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return ["parameter groups", *(f"  {line}" for line in lines), *tied(model)]


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
