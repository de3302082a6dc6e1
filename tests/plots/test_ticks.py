"""Ticks of logarithmic axes."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrsearch.plots.ticks import log_ticks, tick_label


@pytest.mark.parametrize(
    ("value", "label"),
    [
        (0.001, "1e-3"), (0.00025, "2.5e-4"), (0.05, "0.05"), (0.01, "0.01"), (1.0, "1"),
        (0.3, "0.3"), (512.0, "512"), (20_000.0, "20000"), (1e6, "1e6"), (0.0, "0"),
        (-3e-5, "-3e-5"),
    ],
)  # fmt: skip
def test_labels_are_numbers_as_people_write_them(value: float, label: str) -> None:
    assert tick_label(value) == label


@given(st.floats(1e-8, 1e6))
def test_a_label_is_its_number(value: float) -> None:
    assert float(tick_label(value)) == pytest.approx(value, rel=1e-5)


@given(st.floats(1e-8, 1e4), st.floats(1.0, 1e9))
def test_a_log_axis_has_two_to_eight_ticks_near_its_values(low: float, factor: float) -> None:
    ticks = log_ticks([low, low * factor, None, math.nan, -1.0])
    assert 2 <= len(ticks) <= 8
    assert ticks == sorted(set(ticks))
    assert all(low / 1.51 <= tick <= 1.51 * low * factor for tick in ticks)


def test_ticks_are_at_round_numbers() -> None:
    assert log_ticks([1e-4, 1e-1]) == [1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1]
    assert log_ticks([0.01, 0.5]) == [0.01, 0.02, 0.05, 0.1, 0.2, 0.5]
    assert log_ticks([1e-6, 10]) == [1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.1, 1, 10]


def test_without_positive_values_there_are_none() -> None:
    assert log_ticks([]) == log_ticks([None, -1.0, 0.0, math.inf]) == []
