"""Formulas: a subset of Python, parsed and never eval'd."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrsearch.parameters.formula import Formula
from lrsearch.schedules.plan import StepFunction


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


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("cos(1, 2)", r"cos takes 1 argument in a formula, not 2: 'cos\(1, 2\)'"),
        ("1 + cos(pi * progress, 2)", "cos takes 1 argument in a formula, not 2"),
        ("exp()", "exp takes 1 argument in a formula, not 0"),
        ("max()", "max takes at least 2 arguments in a formula, not 0"),
        ("min(1)", "min takes at least 2 arguments in a formula, not 1"),
        ("log(1, 2, 3)", "log takes 1 or 2 arguments in a formula, not 3"),
    ],
)
def test_a_function_with_the_wrong_number_of_arguments_is_refused(
    source: str, problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        Formula(source)


@pytest.mark.parametrize(
    "source",
    [
        "1e999",
        "-1e999 * progress",
        "9 ** 9 ** 9",
        "1 / 0",
        "sqrt(-1) + step",
        "1e308 * 10",
        "1" + "0" * 400,
    ],
)
def test_a_number_that_cannot_be_computed_is_refused(source: str) -> None:
    with pytest.raises(ValueError, match="cannot be computed in a formula"):
        Formula(source)


@pytest.mark.parametrize(
    "source", ["1+" * 1900 + "1", "-" * 3000 + "1", "1 if step < 1 else " * 200 + "1"]
)
def test_a_formula_that_is_nested_too_deep_is_refused(source: str) -> None:
    with pytest.raises(ValueError, match="formula"):
        Formula(source)


def test_the_longest_and_the_deepest_formula_can_be_used() -> None:
    deep = "+".join(["progress"] * 99)
    long = f"max({', '.join(['progress'] * 390)})"
    for source in (deep, long):
        formula = Formula(source)
        exported = StepFunction(f"max(0.0, {formula.of_step(7, 2000, offset=12)})")
        assert exported(30) == pytest.approx(formula.function(7, 2000)(42))


@given(step=st.integers(0, 1000), offset=st.integers(0, 50))
def test_the_exported_source_is_the_same_function(step: int, offset: int) -> None:
    formula = Formula("0.9 ** epoch * (1 - progress / 2)")
    source = formula.of_step(steps_per_epoch=7, steps=2000, offset=offset)
    exported = eval(f"lambda step: {source}", vars(math).copy())  # noqa: S307 - our own source
    assert exported(step) == formula.function(7, 2000)(step + offset)
