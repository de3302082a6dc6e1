"""Colours: the same for a family everywhere, to be seen on white and on black."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrsearch.plots.interactive.style import (
    colour,
    dash,
    log_axis,
    ordered,
    rounded,
    symbol,
    wants_log,
)
from lrsearch.schedules.families import SCHEDULERS

WHITE, BLACK = "#ffffff", "#14181c"


def luminance(shade: str) -> float:
    """Relative luminance, WCAG 2."""
    parts = [int(shade[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("family", list(SCHEDULERS))
def test_each_family_can_be_seen_on_the_light_and_on_the_dark_page(family: str) -> None:
    assert contrast(colour(family), WHITE) >= 2.5
    assert contrast(colour(family), BLACK) >= 2.5


def test_no_two_families_look_the_same() -> None:
    assert len({(colour(name), symbol(name)) for name in SCHEDULERS}) == len(SCHEDULERS)
    assert len({(colour(name), dash(name)) for name in SCHEDULERS}) == len(SCHEDULERS)


def test_the_families_of_the_default_sweep_have_colours_of_their_own() -> None:
    default = ["constant", "step", "cosine", "linear", "one_cycle", "plateau"]
    assert len({colour(name) for name in default}) == len(default)


def test_families_come_in_the_order_of_the_catalogue_each_once() -> None:
    assert ordered(["cosine", "constant", "cosine"]) == ["constant", "cosine"]


def test_what_cannot_be_drawn_is_left_out() -> None:
    assert rounded(math.nan) is None
    assert rounded(None) is None
    assert rounded(0.123456) == 0.1235


@given(st.floats(1e-8, 1e4), st.floats(1.0, 1e6))
def test_a_log_axis_has_a_few_labelled_ticks(low: float, factor: float) -> None:
    axis = log_axis([low, low * factor, None, math.nan])
    if "dtick" in axis:
        assert math.log10(factor) + 1e-9 >= 2
        assert math.log10(factor) / axis["dtick"] <= 8
    else:
        assert 2 <= len(axis["tickvals"]) <= 12
        assert [float(text) for text in axis["ticktext"]] == axis["tickvals"]
        assert any(low / 1.5 <= tick <= 1.5 * low * factor for tick in axis["tickvals"])


def test_a_log_scale_is_for_positive_values_over_more_than_a_decade() -> None:
    assert wants_log([1.0, None, 11.0])
    assert not wants_log([1.0, 2.0])
    assert not wants_log([-1.0, 100.0])
    assert not wants_log([])
