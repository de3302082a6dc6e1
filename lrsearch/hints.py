"""What an error message offers: the valid names and the closest one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def unknown(name: object, known: Iterable[object]) -> str:
    """`'cosin' is unknown; did you mean cosine? (valid: constant, cosine, ...)`."""
    names = sorted(str(one) for one in known)
    close = difflib.get_close_matches(str(name), names, 1)
    hint = f"; did you mean {close[0]}?" if close else ""
    return f"{str(name)!r} is unknown{hint} (valid: {', '.join(names)})"
