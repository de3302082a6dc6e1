"""What trains a recipe: lrsearch itself, or the user's own function."""

from __future__ import annotations

from lrsearch.registry import Component, Registry

OBJECTIVES = Registry(
    "objective",
    [
        Component(
            "builtin",
            "lrsearch.objectives.builtin.TrainingObjective",
            help="lrsearch's own training loop, on `data` and `model`",
        )
    ],
    where="objective",
    leading=2,
)
