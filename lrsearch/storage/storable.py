"""Conversion of values from the user's code to values that every database can store.

PostgreSQL refuses NUL in text and NaN in JSON, all drivers refuse lone surrogates, unlimited texts
would fill the database and the screen, and secrets must not be stored.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import JSON, Dialect, Text
from sqlalchemy.sql.operators import OperatorType
from sqlalchemy.types import TypeDecorator, TypeEngine

from lrsearch.text.redaction import redacted

LONGEST_TEXT = 20_000
"""Largest number of characters; of a longer text, the beginning and the end are kept."""


def storable_text(text: str) -> str:
    """Return the text without secrets, in storable characters, LONGEST_TEXT at most.

    Lone surrogates and NUL are written as Python escapes them: `\\udcff`, `\\x00`.
    """
    if len(text) > LONGEST_TEXT:
        # Redact with a margin around the cut, so that no part of a secret is left there.
        left_out = f"\n... {len(text) - LONGEST_TEXT} characters are left out ...\n"
        half, margin = (LONGEST_TEXT - len(left_out)) // 2, LONGEST_TEXT
        begin, end = redacted(text[: half + margin]), redacted(text[-half - margin :])
        text = f"{begin[:half]}{left_out}{end[-half:]}"
    else:
        text = redacted(text)
    return text.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode("utf-8")


def storable(value: Any) -> Any:
    """Return a plain value with all of its texts and keys made storable."""
    return _mapped(value, lambda leaf: leaf)


def measured(value: Any) -> Any:
    """Return a result made storable: numbers that are not finite, unknown to JSON, become None."""
    return _mapped(
        value, lambda leaf: None if isinstance(leaf, float) and not math.isfinite(leaf) else leaf
    )


def _mapped(value: Any, leaf: Callable[[Any], Any]) -> Any:
    if isinstance(value, str):
        return storable_text(value)
    if isinstance(value, Mapping):
        return {
            storable_text(key) if isinstance(key, str) else key: _mapped(item, leaf)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_mapped(item, leaf) for item in value]
    return leaf(value)


class StorableText(TypeDecorator[str]):
    """A column of text that may come from the user's code."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else storable_text(value)


class StorableJSON(TypeDecorator[Any]):
    """A column of JSON whose texts may come from the user's code."""

    impl = JSON
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        return storable(value)

    def coerce_compared_value(self, op: OperatorType | None, value: Any) -> TypeEngine[Any]:
        # A value that is compared with an element of the JSON is no JSON itself.
        return JSON().coerce_compared_value(op, value)


class MeasuredJSON(StorableJSON):
    """A column of JSON for results, whose numbers may not be finite."""

    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        return measured(value)
