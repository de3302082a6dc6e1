"""Between which numbers a value can lie."""

from __future__ import annotations

import math
from typing import Any

import pytest

from lrsearch.measures import has_listed_loss, limits

ANY = (-math.inf, math.inf)


@pytest.mark.parametrize(
    ("name", "values", "is_listed", "expected"),
    [
        ("val_accuracy", [0.5, 1.0], False, (0.0, 1.0)),
        ("val_accuracy", [50.0], False, ANY),  # in percent, by a function of one's own
        ("val_loss", [0.5], True, (0.0, math.inf)),
        ("test_loss", [0.5], True, (0.0, math.inf)),
        ("val_loss", [0.5], False, ANY),
        ("val_r2", [0.5], True, ANY),
    ],
)
def test_a_share_and_a_listed_loss_have_limits(
    name: str, values: list[float], is_listed: bool, expected: tuple[float, float]
) -> None:
    assert limits(name, values, is_listed) == expected


@pytest.mark.parametrize(
    ("config", "listed"),
    [
        ({}, True),
        ({"train": {"loss": {"name": "mse"}}}, True),
        ({"train": {"loss": {"name": "mine", "_target_": "own.loss"}}}, False),
        ({"train": {"loss_step": {"_target_": "own.step"}}}, False),
        ({"train": {"evaluate": {"_target_": "own.evaluate"}}}, False),
        ({"objective": {"_target_": "own.train"}}, False),
    ],
)
def test_a_loss_of_the_users_own_code_is_not_listed(config: dict[str, Any], listed: bool) -> None:
    assert has_listed_loss(config) == listed
