"""Objectives: what trains a recipe and reports its evaluations."""

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
    leading=1,
)
