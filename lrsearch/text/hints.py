"""Hints for error messages: the valid names, the closest one, and values as they were written."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

_SYNONYMS = {
    **dict.fromkeys(("bayes", "bayesian", "bo"), "auto"),
    "null": "none",
    "lr": "lr_factor",  # of a parameter group
}
"""Other common names of components, and the names that they have here."""


def closest(name: object, names: Iterable[str]) -> str:
    """The closest name as `; did you mean cosine?`, or an empty text if no name is close.

    A parameter without its component is close, too: `lr` for `adamw.lr`.
    """
    known = list(names)
    parameters = [candidate for candidate in known if candidate.endswith(f".{name}")]
    synonyms = [candidate for candidate in known if candidate == _SYNONYMS.get(str(name).lower())]
    close = parameters or synonyms or difflib.get_close_matches(str(name), known, 1)
    return f"; did you mean {close[0]}?" if close else ""


def as_given(value: object) -> str:
    """A value as a configuration writes it: `null`, `true`, `'a word'`, `[1, null]`, `{low: 1}`."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(as_given, value))}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {as_given(item)}' for key, item in value.items())}}}"
    if value is None:
        return "null"
    return repr(value).lower() if isinstance(value, bool) else repr(value)


def word(value: object) -> str:
    """A value in place of a name as a configuration writes it, text without quotes: `cosine`."""
    return value if isinstance(value, str) else as_given(value)


def printable(text: str) -> str:
    """A text in which control and other unprintable characters are escaped, for a terminal."""
    return "".join(
        character if character.isprintable() else repr(character)[1:-1] for character in text
    )


def unknown(name: object, known: Iterable[object]) -> str:
    """A message: `'cosin' is unknown; did you mean cosine? (valid: constant, cosine, ...)`."""
    given, names = word(name), sorted(map(str, known))
    if not names:
        return f"{given!r} is unknown: there are none"
    return f"{given!r} is unknown{closest(given, names)} (valid: {', '.join(names)})"
