"""What the tests of the report's sentences share: an example of each sentence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lrsearch.analysis.sentence import Table, always, each_sentence


@dataclass(frozen=True)
class Example:
    """A finding of which a sentence is said, the words, and one of which it is not said."""

    of: Any
    text: str
    not_of: Any = None
    """None for a sentence that is always said."""


def names(table: Table[Any]) -> list[str]:
    """Names of all sentences of a table."""
    return [sentence.name for sentence in each_sentence(table)]


def check(table: Table[Any], name: str, examples: Mapping[str, Example]) -> None:
    """Assert that a sentence is said where it is true, in these words, and not elsewhere."""
    (sentence,) = [sentence for sentence in each_sentence(table) if sentence.name == name]
    example = examples[name]
    assert sentence.when(example.of)
    assert sentence.text(example.of) == example.text
    assert sentence.is_warning == example.text.startswith("WARNING: ")
    if sentence.when is not always:
        assert example.not_of is not None, f"{name} needs a finding of which it is not said"
        assert not sentence.when(example.not_of)
