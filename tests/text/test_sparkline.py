"""Curves drawn in one line of text."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrsearch.text.sparkline import sparkline


@pytest.mark.parametrize(
    ("values", "drawn"),
    [
        ([], ""),
        ([1.0], ""),
        ([0.0, 7.0], "▁█"),
        ([7.0, 3.0, 0.0], "█▄▁"),
        ([2.0, 2.0], "▁▁"),
        ([1.0, None, 0.0], "█ ▁"),
        ([math.nan, 1.0, 0.0, math.inf], " █▁ "),
        ([None, None], "  "),
    ],
)
def test_the_lowest_and_the_highest_value_fill_the_height(
    values: list[float | None], drawn: str
) -> None:
    assert sparkline(values, 10) == drawn


def test_of_many_values_the_last_of_each_place_is_drawn() -> None:
    assert sparkline([9.0, 0.0, 9.0, 7.0], 2) == "▁█"


@given(st.lists(st.none() | st.floats(), min_size=2), st.integers(1, 50))
def test_it_fills_its_width_with_what_there_is(values: list[float | None], width: int) -> None:
    assert len(sparkline(values, width)) == min(width, len(values))
