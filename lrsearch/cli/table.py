"""Tables that fit the width of the terminal without breaking a word or a number."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Sequence
from itertools import zip_longest

_GAP = 2


def text_lines(rows: Sequence[Sequence[str]], width: int, right: Collection[int] = ()) -> list[str]:
    """Rows of cells as lines in columns; cells are wrapped between words to fit `width`.

    `right` are the columns that are aligned to the right. A column is narrowed to its longest word
    at most: what is still too wide then is left so.
    """
    columns = list(zip(*rows, strict=True))
    widths = [max(map(len, cells)) for cells in columns]
    words = [max(len(word) for cell in cells for word in cell.split(" ")) for cells in columns]
    while sum(widths) + _GAP * (len(widths) - 1) > width:
        wider = [k for k, size in enumerate(widths) if size > words[k]]
        if not wider:
            break
        widths[max(wider, key=widths.__getitem__)] -= 1
    lines = []
    for row in rows:
        cells = [_wrapped(cell, size) for cell, size in zip(row, widths, strict=True)]
        for parts in zip_longest(*cells, fillvalue=""):
            shown = (
                part.rjust(size) if k in right else part.ljust(size)
                for k, (part, size) in enumerate(zip(parts, widths, strict=True))
            )
            lines.append((" " * _GAP).join(shown).rstrip())
    return lines


def _wrapped(cell: str, width: int) -> list[str]:
    return textwrap.wrap(cell, width, break_long_words=False, break_on_hyphens=False) or [""]


def number_lines(rows: Sequence[Sequence[str]], width: int, keys: int = 1) -> list[str]:
    """Rows of short cells as lines in columns aligned to the right, the first row the headers.

    Columns that do not fit `width` follow in further blocks, each after the first `keys` columns.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    blocks: list[list[int]] = [[]]
    for k in range(keys, len(widths)):
        used = sum(widths[j] + _GAP for j in [*range(keys), *blocks[-1]])
        if blocks[-1] and used + widths[k] > width:
            blocks.append([])
        blocks[-1].append(k)
    lines: list[str] = []
    for block in blocks:
        if lines:
            lines.append("")
        shown = [*range(keys), *block]
        lines += ["  ".join(f"{row[k]:>{widths[k]}}" for k in shown) for row in rows]
    return lines
