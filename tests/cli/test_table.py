"""Tables in the terminal: they fit it, and break no word."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrsearch.cli.table import number_lines, text_lines

RECIPE = (
    "sgd(momentum=0.842, nesterov=True, weight_decay=5.14e-05) lr=0.09202 batch=32 "
    "cosine(final=0.0609) warmup=0.0127"
)
ROWS = [
    ("trial", "val_accuracy", "on fresh seeds", "recipe"),
    ("87", "0.9816", "0.9712 (0.9701 to 0.9723)", RECIPE),
    ("104", "0.9809", "-", RECIPE.replace("cosine", "linear")),
]


@pytest.mark.parametrize("width", [80, 100, 120])
def test_a_table_fits_and_keeps_every_word(width: int) -> None:
    lines = text_lines(ROWS, width, right=(0, 1, 2))
    assert max(map(len, lines)) <= width
    words = {word for line in lines for word in line.split()}
    assert words == {word for row in ROWS for cell in row for word in cell.split()}
    assert lines[0].split() == ["trial", "val_accuracy", "on", "fresh", "seeds", "recipe"]


def test_with_room_each_row_is_a_line() -> None:
    lines = text_lines(ROWS, 1000, right=(0, 1, 2))
    assert len(lines) == len(ROWS)
    assert lines[1].endswith(f"  {RECIPE}")
    assert lines[2].startswith("  104        0.9809  ")


WORDS = st.sampled_from(["a", "of", "0.0735", "lr=5e-4", "batch=128", "nesterov=True,"])
CELLS = st.lists(WORDS, min_size=1, max_size=9).map(" ".join)


@given(st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=1, max_size=5), st.integers(50, 120))
def test_no_word_is_ever_broken_or_lost(rows: list[tuple[str, ...]], width: int) -> None:
    lines = text_lines(rows, width)
    assert max(map(len, lines)) <= width
    assert sorted(word for line in lines for word in line.split()) == sorted(
        word for row in rows for cell in row for word in cell.split()
    )


def test_columns_of_numbers_that_do_not_fit_follow_below() -> None:
    rows = [["epoch", "step", *(f"lr group{k}" for k in range(8))]]
    rows += [[str(n), str(10 * n), *(f"0.00{k}" for k in range(8))] for n in range(3)]
    lines = number_lines(rows, 60, keys=2)
    assert max(map(len, lines)) <= 60
    blocks = "\n".join(lines).split("\n\n")
    assert len(blocks) == 2
    assert all(block.split("\n")[0].split()[:2] == ["epoch", "step"] for block in blocks)
    assert number_lines(rows, 1000, keys=2)[1].split() == rows[1]
