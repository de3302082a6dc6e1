"""Formulas: a subset of Python, parsed and never eval'd."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrsearch.schedules.formula import Formula


@pytest.mark.parametrize(
    ("source", "step", "value"),
    [
        ("0.95 ** epoch", 25, 0.95**2),
        ("1 - progress", 25, 0.75),
        ("(1 + cos(pi * progress)) / 2", 50, 0.5),
        ("1 if epoch < 5 else 0.1", 49, 1),
        ("1 if epoch < 5 else 0.1", 50, 0.1),
        ("max(0.1, 1 - 2 * progress)", 90, 0.1),
        ("sqrt(4) * exp(0) + log(e) - floor(1.5) + abs(-1)", 0, 3),
        ("step // 3 % 2", 9, 1),
        ("-progress", 100, -1),
    ],
)
def test_values(source: str, step: int, value: float) -> None:
    at = Formula(source).function(steps_per_epoch=10, steps=100)
    assert at(step) == pytest.approx(value)


@pytest.mark.parametrize(
    "source",
    [
        "__import__('os').system('true')",
        "().__class__",
        "open('x')",
        "[1 for _ in range(3)]",
        "lambda: 1",
        "epoch.real",
        "'text'",
        "True",
        "max(1, key=abs)",
        "epok",
        "1 +",
        "",
        "0.1 < epoch < 3",
        "(" * 5000,
    ],
)
def test_what_is_not_arithmetic_is_refused(source: str) -> None:
    with pytest.raises(ValueError, match="formula"):
        Formula(source)


def test_an_unknown_name_lists_what_there_is() -> None:
    with pytest.raises(ValueError, match="use epoch, progress, step"):
        Formula("epok + 1")


def test_a_huge_power_costs_nothing() -> None:
    with pytest.raises(OverflowError):
        Formula("9 ** 9 ** 9").function(1, 1)(0)


@given(step=st.integers(0, 1000), offset=st.integers(0, 50))
def test_the_exported_source_is_the_same_function(step: int, offset: int) -> None:
    formula = Formula("0.9 ** epoch * (1 - progress / 2)")
    source = formula.of_step(steps_per_epoch=7, steps=2000, offset=offset)
    exported = eval(f"lambda step: {source}", vars(math).copy())  # noqa: S307 - our own source
    assert exported(step) == formula.function(7, 2000)(step + offset)
