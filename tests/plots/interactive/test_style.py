"""Axes and numbers of interactive figures."""

from __future__ import annotations

import math

from lrsearch.plots.interactive.style import log_axis, rounded, wants_log


def test_what_cannot_be_drawn_is_left_out() -> None:
    assert rounded(math.nan) is None
    assert rounded(None) is None
    assert rounded(0.123456) == 0.1235


def test_a_log_axis_has_labelled_ticks() -> None:
    axis = log_axis([1e-3, 0.05, None])
    assert axis["type"] == "log"
    assert dict(zip(axis["tickvals"], axis["ticktext"], strict=True)) == {
        0.001: "1e-3", 0.002: "2e-3", 0.005: "5e-3", 0.01: "0.01", 0.02: "0.02", 0.05: "0.05",
    }  # fmt: skip
    assert log_axis([None]) == {"type": "log"}


def test_a_log_scale_is_for_positive_values_over_more_than_a_decade() -> None:
    assert wants_log([1.0, None, 11.0])
    assert not wants_log([1.0, 2.0])
    assert not wants_log([-1.0, 100.0])
    assert not wants_log([])
