"""All tables of sentences together."""

from __future__ import annotations

from pathlib import Path

from said import names

from lrsearch.analysis.sentences import TABLES

FOLDER = Path(__file__).parent


def test_each_sentence_has_a_name_of_its_own() -> None:
    every = [name for table in TABLES.values() for name in names(table)]
    assert len(every) == len(set(every))


def test_each_table_has_a_test_by_its_name() -> None:
    """A sentence `spent.saved` is of the table `spent`, whose examples are in `test_spent.py`."""
    for table in TABLES.values():
        (prefix,) = {name.partition(".")[0] for name in names(table)}
        assert (FOLDER / f"test_{prefix}.py").exists()
