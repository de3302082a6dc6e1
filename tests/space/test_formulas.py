"""Formulas of schedulers are computed over a whole training before the first trial."""

from __future__ import annotations

from typing import Any

import pytest

from lrsearch.parameters.durations import Length
from lrsearch.space.formulas import schedule_problems
from lrsearch.space.parse import parse_space
from lrsearch.space.space import Coupling, Space


def space(option: str = "lambda", warmup: Any = None, **scheduler: Any) -> Space:
    plain = {
        "lr": {"low": 0.01, "high": 0.1},
        "batch_size": {"value": 10},
        "optimizer": {"only": ["sgd"], "sgd": {}},
        "scheduler": {"only": [option], option: scheduler},
    }
    problems: list[str] = []
    made = parse_space(plain | ({"warmup": warmup} if warmup else {}), Coupling(), problems)
    assert made is not None, problems
    return made


def length(batch_size: int) -> Length:
    return Length.of(n_train=100, batch_size=batch_size, epochs=5)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (space(formula={"value": "1/epoch"}), "'1/epoch' cannot be computed at step 0, epoch 0"),
        (
            space(formula={"choices": ["1 - progress", "1 / (epoch - 3)"]}),
            "'1 / (epoch - 3)' cannot be computed at step 30, epoch 3",
        ),
        (
            space(formula={"value": "sqrt(0.5 - progress)"}),
            "at step 26, epoch 2: math domain error",
        ),
    ],
)
def test_a_formula_that_cannot_be_computed_is_told_with_the_step(given: Space, said: str) -> None:
    (problem,) = schedule_problems(given, length)
    assert problem.startswith("space.scheduler.lambda.formula: ")
    assert said in problem


def test_the_first_factor_of_a_multiplicative_schedule_is_that_of_step_1() -> None:
    assert schedule_problems(space("multiplicative", factor={"value": "1/step"}), length) == []
    each_step = {"every": {"value": "1st"}, "factor": {"value": "1/(step-1)"}}
    (problem,) = schedule_problems(space("multiplicative", **each_step), length)
    assert "'1/(step-1)' cannot be computed at step 1, epoch 0" in problem


def test_a_formula_begins_after_the_warm_up() -> None:
    long = space(warmup={"low": 0.2, "high": 0.4}, formula={"value": "1/epoch"})
    assert schedule_problems(long, length) == []
    short = space(warmup={"low": 0.1, "high": 0.4}, formula={"value": "1/epoch"})
    assert len(schedule_problems(short, length)) == 1


def test_of_a_loop_of_ones_own_the_first_step_alone_is_known() -> None:
    late = space(formula={"value": "1 / (epoch - 3)"})
    assert schedule_problems(late, length, all_steps=False) == []
