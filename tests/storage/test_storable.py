"""Values of the user's as every database takes them."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrsearch.storage.storable import LONGEST_TEXT, measured, storable, storable_text
from lrsearch.text.redaction import redacted

ANY_TEXT = st.text(st.characters(categories=None))
"""Lone surrogates and NUL included."""
ANY_JSON = st.recursive(
    ANY_TEXT | st.floats() | st.integers() | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4),
    max_leaves=10,
)


@given(ANY_TEXT)
def test_any_text_can_be_encoded_and_has_no_nul(text: str) -> None:
    stored = storable_text(text)
    assert "\0" not in stored
    stored.encode()
    assert storable_text(stored) == stored


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_plain_text_stays_as_it_is(text: str) -> None:
    assert storable_text(text) == text


def test_of_a_text_that_is_too_long_the_beginning_and_the_end_are_kept() -> None:
    stored = storable_text("begin" + 10**6 * "x" + "end")
    assert len(stored) <= 20_000
    assert stored.startswith("beginx")
    assert stored.endswith("xend")
    assert "characters are left out" in stored


@given(ANY_JSON)
def test_results_are_json_that_every_database_takes(value: object) -> None:
    json.dumps(measured(value), allow_nan=False).encode()
    assert storable_text(json.dumps(storable(value), ensure_ascii=False)).encode()


def test_numbers_that_are_not_finite_are_none_in_results_alone() -> None:
    assert measured({"a": [1.5, math.nan, -math.inf]}) == {"a": [1.5, None, None]}
    assert storable({"a": [1.5, math.inf]}) == {"a": [1.5, math.inf]}


@pytest.mark.parametrize("part", ["a://b:", "a://b?", "a://b@", "?a://", "http://", "x=y&a://?"])
def test_texts_of_many_urls_take_time_by_their_length_alone(part: str) -> None:
    """Ten times the text in quadratic time would be a hundred times as long: minutes here."""
    assert len(storable_text(part * 100_000)) <= LONGEST_TEXT
    assert redacted(part * 100_000)


def test_a_secret_at_the_cut_is_left_out_whole() -> None:
    secret = "postgresql://user:" + "s3cret" * 50 + "@host"
    for before in range(9_000, 10_400, 100):
        assert "s3cret" not in storable_text("x" * before + f" {secret} " + "y" * 30_000)
