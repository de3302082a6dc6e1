"""YAML: one reading of values for all files, and no file that does harm."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest
from hostile_yaml import BOMB, hostile_files
from hypothesis import given, settings
from hypothesis import strategies as st

import lrsearch
from lrsearch.text.yaml import YamlError, parse, read_file, scalar, to_yaml

# Values


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3), ("1E3", 1e3), ("1.5e+3", 1.5e3), (".5", 0.5), ("5.", 5.0), ("-2", -2),
        ("1_000", 1000), ("1_000.5", 1000.5), ("0x1F", 31), (".inf", math.inf), ("-inf", -math.inf),
        ("yes", True), ("NO", False), ("On", True), ("off", False), ("True", True),
        ("", None), ("~", None), ("Null", None),
        # What YAML 1.1 takes for an octal number, minutes and a date.
        ("007", "007"), ("1:30", "1:30"), ("2024-01-05", "2024-01-05"),
        ("1__0", "1__0"), ("e5", "e5"), (".", "."), ("-", "-"), ("nano", "nano"),
        ("9" * 500, "9" * 500),
    ],
)  # fmt: skip
def test_a_word_without_quotes_has_one_meaning(text: str, value: Any) -> None:
    found = scalar(text)
    assert found == value
    assert type(found) is type(value)


def test_what_is_in_quotes_or_tagged_as_text_is_text() -> None:
    assert parse("['1', \"yes\", !!str 3, !!float 2]", "here") == ["1", "yes", "3", 2.0]


def test_names_stay_as_they_were_typed() -> None:
    text = "study: {name: 2024_01_05, n_trials: 1_0}\nlist: [{a: 1, b: 2}]\n"
    read = parse(text, "here", ["study.name", "list[].*"])
    assert read == {"study": {"name": "2024_01_05", "n_trials": 10}, "list": [{"a": "1", "b": "2"}]}
    assert parse("name: null", "here", ["name"]) == {"name": None}


def test_aliases_and_merged_mappings_are_followed() -> None:
    text = "a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: [*a]\nd: {<<: [{x: 5}, *a]}\n"
    assert parse(text, "here") == {
        "a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 3}, "c": [{"x": 1, "y": 2}],
        "d": {"x": 5, "y": 2},
    }  # fmt: skip


TEXTS = st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(
    ["1e-3", "yes", "0o17", "inf", ".nan", "1_0", "null", "~", "", "<<", "2024-01-05", "'", "a: b"]
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(VALUES)
def test_what_is_written_is_read_back(value: Any) -> None:
    assert parse(to_yaml(value), "here") == value


# What is refused, with the file and the line


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\na: 2", ":2: the key a is given twice"),
        ("a: 1\nb: [1, 2", ":3: this is not YAML"),
        ("\n\na: b: c", ":3: this is not YAML"),
        ("a: !!python/object/apply:os.system [x]", "is not allowed"),
        ("a: &a [*a]", "contains itself"),
        ("a: *nowhere", "undefined alias"),
        ("[" * 60 + "]" * 60, "nested deeper"),
        ("a: 1\nb: !!int x", ":2: 'x' is not of the type int"),
        ("? [1]\n: 2", "a key must be a word"),
        ("a: 1\n---\nb: 2", "another document"),
        ("a: \x07", "U+0007"),
        ("a: {<<: 3}", "takes a mapping"),
    ],
    ids=range(12),
)
def test_what_is_not_of_this_kind_is_refused(text: str, said: str) -> None:
    with pytest.raises(YamlError) as refused:
        parse(text, "mine.yaml")
    assert str(refused.value).startswith("mine.yaml")
    assert said in str(refused.value)


def test_very_deep_nesting_is_refused_without_recursion() -> None:
    with pytest.raises(YamlError):
        parse("[" * 100_000, "deep.yaml")


MERGED_BOMB = "a0: &a0 {x: 1}\n" + "".join(
    f"a{k}: &a{k} {{<<: [{','.join([f'*a{k - 1}'] * 9)}]}}\n" for k in range(1, 20)
)


@pytest.mark.parametrize("bomb", [BOMB, MERGED_BOMB])
def test_aliases_that_multiply_are_refused(bomb: str) -> None:
    with pytest.raises(YamlError, match="its aliases repeat"):
        parse(bomb, "bomb.yaml")


def test_a_file_that_does_harm_is_named_and_not_waited_for(tmp_path: Path) -> None:
    for name, said in hostile_files(tmp_path).items():
        if name == "list":
            continue
        with pytest.raises(YamlError) as refused:
            read_file(tmp_path / f"{name}.yaml")
        assert said in str(refused.value)
        assert name in str(refused.value)


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"\xef\xbb\xbfa: 1e-3\n")
    assert read_file(tmp_path / "a.yaml") == {"a": 0.001}


def test_there_is_no_other_reader() -> None:
    package = Path(lrsearch.__file__).parent
    others = [
        path.name
        for path in package.rglob("*.py")
        if re.search(r"^\s*(import|from) yaml\b|OmegaConf\.load", path.read_text(), re.MULTILINE)
    ]
    assert others == ["yaml.py"]
