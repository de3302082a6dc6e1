"""The command line's values: as in files, and written so that they are read back."""

from __future__ import annotations

import math

import pytest
from hydra.errors import HydraException
from hypothesis import given, settings
from hypothesis import strategies as st

from lrsearch.cli.arguments import parse_values
from lrsearch.cli.grammar import as_word, parse_override, quoted, value_of, written
from lrsearch.text.yaml import parse

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(
    st.characters(codec="ascii", exclude_categories=["Cc"])
)  # fmt: skip
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3), max_leaves=6)


@settings(max_examples=100, deadline=None)
@given(st.lists(VALUES, max_size=4))
def test_what_is_written_is_read_back(values: list[object]) -> None:
    assert value_of(parse_override(f"key={written(values)}")) == values


@settings(max_examples=100, deadline=None)
@given(st.text(min_size=1))
def test_a_word_in_quotes_is_that_word(text: str) -> None:
    assert value_of(parse_override(f"key={quoted(text)}")) == text


@pytest.mark.parametrize(
    "text", ["1e-3", "1_000", ".inf", "-.inf", "inf", "yes", "No", "on", "true", "null", "0x10",
             "007", "3.10", "'0.1'", '"yes"', "word", "[1e-3, yes, '1']", "{a: 1e-3, b: off}"],
)  # fmt: skip
def test_a_value_means_the_same_on_the_command_line_and_in_a_file(text: str) -> None:
    assert value_of(parse_override(f"key={text}")) == parse(f"key: {text}", "a file")["key"]


def test_not_a_number_is_one_on_both() -> None:
    for text in ("nan", ".nan", "NaN"):
        assert math.isnan(value_of(parse_override(f"key={text}")))
        assert math.isnan(parse(text, "a file"))


@pytest.mark.parametrize(
    "text", ["2024_01_05", "3.10", "true", "1e3", "a b", "größe", "a'b", "a=b"]
)
def test_a_name_stays_as_it_was_typed(text: str) -> None:
    word = as_word(f"key={text}", lambda key, _: key == "key")
    assert value_of(parse_override(word)) == text


@pytest.mark.parametrize("text", ["key=null", "key=", "key='3.10'", "other=3.10", "~key", "key"])
def test_what_is_no_name_or_has_quotes_already_is_left_alone(text: str) -> None:
    assert as_word(text, lambda key, _: key == "key") == text


def test_brackets_nested_without_end_are_refused() -> None:
    with pytest.raises(HydraException):
        parse_override(f"key={'[' * 2_000}")


def test_a_setting_to_try_is_read_by_the_same_rules() -> None:
    words = ["a=1e-3", "b=1_000", "c=-.inf", "d=yes", "e='0.1'", "f=[off, .5]", "g=1/epoch +"]
    assert parse_values(words) == {
        "a": 1e-3, "b": 1000, "c": -math.inf, "d": True, "e": "0.1", "f": [False, 0.5],
        "g": "1/epoch +",
    }  # fmt: skip
