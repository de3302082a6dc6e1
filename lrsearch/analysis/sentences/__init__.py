"""What is said of each finding: one table of sentences a kind of finding."""

from __future__ import annotations

from typing import Any

from lrsearch.analysis.sentence import Table, said
from lrsearch.analysis.sentences.spent import SPENT
from lrsearch.analysis.spent import Spent

TABLES: dict[type, Table[Any]] = {
    Spent: SPENT,
}


def say(finding: object) -> list[str]:
    """Return the sentences that are said of a finding, in their order."""
    return said(TABLES[type(finding)], finding)
