"""Objectives: what trains a recipe and reports its evaluations."""

from __future__ import annotations

from lrsearch.parameters.parameter import Parameter
from lrsearch.registry import Component, ComponentConfig, Registry

COMMAND = "command"
OBJECTIVES = Registry(
    "objective",
    [
        Component(
            "builtin",
            "lrsearch.objectives.builtin.TrainingObjective",
            help="lrsearch's own training loop, on `data` and `model`",
        ),
        Component(
            COMMAND,
            "lrsearch.objectives.command.CommandObjective",
            {
                "command": Parameter(
                    "any",
                    None,
                    help="the program and its arguments, `{lr}` and the like being values of the "
                    "recipe",
                    required=True,
                ),
                "grace": Parameter(
                    "float", 10.0, 0.0, help="seconds that it has to end after SIGTERM"
                ),
                "gpus": Parameter(
                    "float", None, 0.0, open_low=True, help="GPUs of one trial; as `train.gpus`"
                ),
                "metrics": Parameter(
                    "any", None, help="a file that it writes, and columns of it by metric"
                ),
            },
            help="a script of yours, started for each trial",
        ),
    ],
    where="objective",
    leading=1,
)


def is_command(objective: ComponentConfig | None) -> bool:
    """Whether an objective is a script, which runs as processes of its own."""
    return objective is not None and not objective.own and objective.name == COMMAND
