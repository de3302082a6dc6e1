"""Which parameters of the space a recipe was asked for."""

from __future__ import annotations

import random

from lrsearch.analysis.columns import recipe_columns
from lrsearch.analysis.edges import _bounds
from lrsearch.analysis.parameters import searched_parameters
from lrsearch.optimizers.group_rules import GroupRule
from lrsearch.space.domains import Choices, Fixed, FloatRange
from lrsearch.space.space import Space

RULES = (
    GroupRule("no_decay", "no_decay", None, {"weight_decay": 0.0}),
    GroupRule("head", "head", None, {"lr_factor": 10.0}),
)
SPACE = Space(
    {
        "lr": FloatRange(0.1, 1.0),
        "batch_size": Fixed(8),
        "groups.head.lr_factor": FloatRange(1.0, 20.0),
        "groups.head.momentum": Choices((0.1, 0.2)),
        "model.width": Choices((1, 2)),
    },
    {"sgd": {"momentum": FloatRange(0.5, 0.9)}},
    {"constant": {}},
    groups=RULES,
)


def test_a_recipe_says_what_it_was_asked_for_in_each_group() -> None:
    recipe = SPACE.sample(random.Random(0))
    found = {one.name: one.value for one in searched_parameters(SPACE, recipe)}
    head = recipe.groups[1].arguments
    assert found["groups.head.lr_factor"] == head["lr_factor"]
    assert found["groups.head.momentum"] == head["momentum"] in (0.1, 0.2)
    assert found["sgd.momentum"] == recipe.optimizer.arguments["momentum"]


def test_a_value_of_a_group_has_a_column_and_a_key_of_its_own() -> None:
    columns = recipe_columns(SPACE.sample(random.Random(0)).to_dict())
    assert columns["groups.no_decay.weight_decay"] == 0.0
    assert 1.0 <= columns["groups.head.lr_factor"] <= 20.0
    assert SPACE.config_key("groups.head.lr_factor") == "space.groups.head.lr_factor"
    assert _bounds(SPACE.parameter("groups.head.lr_factor"))[0] == 0.0
    assert _bounds(SPACE.parameter("groups.layer_decay.decay")) == (0.0, 1.0)
    assert _bounds(SPACE.parameter("groups.mine.momentum"))[0] == 0.0
