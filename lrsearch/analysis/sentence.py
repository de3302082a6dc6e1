"""A sentence of the report: its name, when it is said, and its words."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

F = TypeVar("F")
"""A finding, or a part of one such as a row."""


@dataclass(frozen=True)
class Sentence(Generic[F]):
    """One sentence about a finding."""

    name: str
    """Unique in all tables: `spent.saved`."""
    when: Callable[[F], bool]
    """Whether it is true of a finding and worth saying."""
    text: Callable[[F], str]
    """Its words, for a finding of which it is said."""
    is_warning: bool = False
    """Whether it must be seen before any number is used."""


@dataclass(frozen=True)
class ForEach(Generic[F]):
    """Sentences about each part of a finding."""

    parts: Callable[[F], Sequence[Any]]
    table: Table[Any]


Table = tuple[Sentence[F] | ForEach[F], ...]
"""The sentences about one kind of finding, in the order in which they are said."""


def said(table: Table[F], finding: F, warnings: bool | None = None) -> list[str]:
    """Return the sentences of a table that are said of a finding.

    With `warnings` only those that are warnings, or only the others.
    """
    lines: list[str] = []
    for entry in table:
        if isinstance(entry, ForEach):
            lines += [
                line for part in entry.parts(finding) for line in said(entry.table, part, warnings)
            ]
        elif warnings in (None, entry.is_warning) and entry.when(finding):
            lines.append(entry.text(finding))
    return lines


def each_sentence(table: Table[Any]) -> Iterator[Sentence[Any]]:
    """Yield all sentences of a table, those about parts included."""
    for entry in table:
        if isinstance(entry, ForEach):
            yield from each_sentence(entry.table)
        else:
            yield entry


def always(_: object) -> bool:
    """The condition of a sentence that is said of every finding."""
    return True
