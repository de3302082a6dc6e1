"""Numbers, durations, sizes and lists as people read them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrsearch.text.formatting import (
    LAST_PRINTED,
    byte_size,
    duration,
    failure_cause,
    listed,
    number,
    percent,
    plural,
    probability,
    to_error,
)


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (None, 4, "-"),
        (0.123456, 4, "0.1235"),
        (0.000123456, 2, "0.00012"),
        (1e-7, 4, "1e-07"),
        (12345.6, 4, "12,346"),
        (-12345.6, 2, "-12,346"),
        (1.234567e8, 4, "1.235e+08"),
        (3.0, 4, "3"),
        (math.nan, 4, "nan"),
        (math.inf, 4, "inf"),
    ],
)
def test_a_number_has_its_significant_digits(value: float | None, digits: int, text: str) -> None:
    assert number(value, digits) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.0, "0 %"),
        (1 / 252, "under 1 %"),
        (0.006, "1 %"),
        (0.333, "33 %"),
        (0.994, "99 %"),
        (251 / 252, "over 99 %"),
        (1.0, "100 %"),
    ],
)
def test_a_percentage_is_0_only_for_nothing_and_100_only_for_all(share: float, text: str) -> None:
    assert percent(share) == text


@given(st.floats(-1e12, 1e12))
def test_a_number_is_right_to_four_digits_and_fits_a_column(value: float) -> None:
    text = number(value)
    assert float(text.replace(",", "")) == pytest.approx(value, rel=1e-3)
    assert len(text.lstrip("-")) <= 10


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (0.0, "0.0s"),
        (59.94, "59.9s"),
        (59.97, "1m00s"),
        (250, "4m10s"),
        (3599.6, "1h00m"),
        (7500, "2h05m"),
        (360000, "100h00m"),
        (math.inf, "unknown"),
        (math.nan, "unknown"),
    ],
)
def test_a_duration_never_shows_sixty_of_anything(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "noun", "text"),
    [
        (0, "trial", "0 trials"),
        (1, "trial", "1 trial"),
        (1.0, "epoch", "1 epoch"),
        (0.5, "epoch", "0.5 epochs"),
        (12345, "step", "12,345 steps"),
        (1, "worker process", "1 worker process"),
        (2, "worker process", "2 worker processes"),
    ],
)
def test_a_noun_is_as_many_as_its_count(count: float, noun: str, text: str) -> None:
    assert plural(count, noun) == text


def test_a_probability_is_never_certain() -> None:
    assert [probability(share) for share in (0.0, 0.5, 1.0)] == ["under 1 %", "50 %", "over 99 %"]


def test_a_size_is_in_the_unit_that_suits_it() -> None:
    assert [byte_size(n) for n in (0, 100 * 2**20, 20 * 2**30)] == ["0 MiB", "100 MiB", "20.0 GiB"]


def test_words_are_listed_with_an_and_before_the_last() -> None:
    assert [listed(words) for words in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == [
        "", "a", "a and b", "a, b and c",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("reason", "line"),
    [
        (
            "Traceback (most recent call last):\n  line\nValueError: no disk\n",
            "ValueError: no disk",
        ),
        (
            f"the script has ended with exit code 3; {LAST_PRINTED}\nloading\nhello",
            f"the script has ended with exit code 3; {LAST_PRINTED} hello",
        ),
        (
            f"the script has ended with exit code 1; {LAST_PRINTED}\nstopped\n=====",
            f"the script has ended with exit code 1; {LAST_PRINTED} stopped",
        ),
        ("its workers died", "its workers died"),
        (" \n", ""),
        (None, ""),
    ],
)
def test_a_failure_is_told_in_one_line_that_names_its_cause(reason: str | None, line: str) -> None:
    assert failure_cause(reason) == line


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (0.073512, 0.0021, "0.0735"),
        (0.073512, 0.00021, "0.07351"),
        (12.3456, 1.7, "12.3"),
        (1234.56, 170.0, "1,230"),
        (0.5, 3.0, "0.5"),
        (3.213e-7, 1.1e-8, "3.21e-07"),
        (0.073512, None, "0.07351"),
        (0.073512, 0.0, "0.07351"),
        (0.0, 0.01, "0.000"),
        (0.0410814, 2.0, "0.04"),
        (-1.3e-8, 0.5, "-1e-08"),
        (0.0410814857, 3e-9, "0.0410815"),
        (1e-24, 1e-18, "0"),
        (None, 0.1, "-"),
        (math.inf, 0.1, "inf"),
    ],
)
def test_a_number_has_the_digits_that_its_error_allows(
    value: float | None, error: float | None, text: str
) -> None:
    assert to_error(value, error) == text
