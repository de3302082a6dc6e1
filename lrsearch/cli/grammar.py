"""`key=value` of the command line: Hydra's grammar, with values as in configuration files."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import HydraException

from lrsearch.cli.hydra_internals import parsed_value
from lrsearch.text.yaml import scalar

_PLAIN = re.compile(r"[A-Za-z_][\w./-]*", re.ASCII)


def parse_override(text: str) -> Override:
    """Parse one argument. Raises HydraException where it is not of Hydra's grammar."""
    try:
        return OverridesParser.create().parse_override(text)
    except RecursionError:
        raise HydraException("nested too deep") from None


def value_of(override: Override) -> Any:
    """The value of an override; unquoted words (`yes`, `.inf`) mean the same as in a file."""
    return _plain(parsed_value(override))


def _plain(parsed: Any) -> Any:
    if isinstance(parsed, QuotedString):
        return parsed.text
    if isinstance(parsed, str):
        return scalar(parsed) if parsed else parsed  # `key=` gives an empty text
    if isinstance(parsed, list):
        return [_plain(item) for item in parsed]
    if isinstance(parsed, dict):
        return {
            key.text if isinstance(key, QuotedString) else key: _plain(item)
            for key, item in parsed.items()
        }
    return parsed


def as_word(text: str, is_word: Callable[[str, str], bool]) -> str:
    """Put quotes around the value of `key=value`, if `is_word(key, value)` and it has none yet.

    A word stays as it was typed: Hydra would read `2024_01_05` as a number.
    """
    key, equals, value = text.partition("=")
    if not equals or scalar(value) is None or value[0] in "'\"":
        return text
    return f"{key}={quoted(value)}" if is_word(key.lstrip("+"), value) else text


def quoted(text: str) -> str:
    """Put text into Hydra's quotes."""
    return QuotedString(text, Quote.single).with_quotes()


def written(value: Any) -> str:
    """Write a value in Hydra's grammar; `value_of` is the inverse."""
    if isinstance(value, Mapping):
        inner = (f"{_key(key)}:{written(item)}" for key, item in value.items())
        return "{" + ",".join(inner) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(written, value)) + "]"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str) and not _is_plain(value):
        return quoted(value)
    return str(value)


def _is_plain(text: str) -> bool:
    """Whether `value_of` reads a text without quotes as the same text."""
    return _PLAIN.fullmatch(text) is not None and scalar(text) == text


def _key(key: Any) -> str:
    return str(key) if not isinstance(key, str) or _is_plain(key) else quoted(key)
