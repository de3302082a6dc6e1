"""What an error message offers: the valid names and the closest one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

_MEANT = {**dict.fromkeys(("bayes", "bayesian", "bo"), "auto"), "null": "none"}
"""Other names of what is in the catalogue."""


def closest(name: object, names: Iterable[str]) -> str:
    """`; did you mean cosine?`, or nothing where no name is close.

    An argument without its owner, `lr` for `adamw.lr`, is close, too.
    """
    known = list(names)
    owned = [one for one in known if one.endswith(f".{name}")]
    meant = [one for one in known if one == _MEANT.get(str(name).lower())]
    close = owned or meant or difflib.get_close_matches(str(name), known, 1)
    return f"; did you mean {close[0]}?" if close else ""


def as_given(value: object) -> str:
    """A value as a configuration has it: `null`, `true`, `'a word'`, `[1, null]`, `{low: 1}`."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(as_given, value))}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {as_given(one)}' for key, one in value.items())}}}"
    if value is None:
        return "null"
    return repr(value).lower() if isinstance(value, bool) else repr(value)


def word(value: object) -> str:
    """A name as a configuration has it, without quotes: also of what can be none, such as null."""
    return value if isinstance(value, str) else as_given(value)


def printable(text: str) -> str:
    """A text without what would change the screen, or cannot be shown on it."""
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)


def unknown(name: object, known: Iterable[object]) -> str:
    """`'cosin' is unknown; did you mean cosine? (valid: constant, cosine, ...)`."""
    given, names = word(name), sorted(str(one) for one in known)
    if not names:
        return f"{given!r} is unknown: there are none"
    return f"{given!r} is unknown{closest(given, names)} (valid: {', '.join(names)})"
