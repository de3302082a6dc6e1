"""What is said of each finding: one table of sentences a kind of finding."""

from __future__ import annotations

from typing import Any

from lrsearch.analysis.basin import Basins
from lrsearch.analysis.best_and_last import BestAndLast
from lrsearch.analysis.confirmed import Confirmed
from lrsearch.analysis.edges import Edges
from lrsearch.analysis.families import EqualTuning
from lrsearch.analysis.frontier import Frontier
from lrsearch.analysis.importance import Importance
from lrsearch.analysis.scaling import Scaling
from lrsearch.analysis.sentence import Table, said
from lrsearch.analysis.sentences.basin import BASIN
from lrsearch.analysis.sentences.best_and_last import BEST_AND_LAST
from lrsearch.analysis.sentences.confirmed import CONFIRMED
from lrsearch.analysis.sentences.edges import EDGES
from lrsearch.analysis.sentences.equal_tuning import EQUAL_TUNING
from lrsearch.analysis.sentences.frontier import FRONTIER
from lrsearch.analysis.sentences.importance import IMPORTANCE
from lrsearch.analysis.sentences.rate_ranges import RATE_RANGES
from lrsearch.analysis.sentences.scaling import SCALING
from lrsearch.analysis.sentences.spent import SPENT
from lrsearch.analysis.sentences.verdict import VERDICT
from lrsearch.analysis.sentences.warned import WARNED
from lrsearch.analysis.sentences.winner import WINNER
from lrsearch.analysis.spent import Spent
from lrsearch.analysis.verdict import Verdict
from lrsearch.analysis.warned import Warned
from lrsearch.analysis.winner import Winner
from lrsearch.range_test.result import RangeTest

TABLES: dict[type, Table[Any]] = {
    Confirmed: CONFIRMED,
    Edges: EDGES,
    Frontier: FRONTIER,
    Importance: IMPORTANCE,
    RangeTest: RATE_RANGES,
    BestAndLast: BEST_AND_LAST,
    EqualTuning: EQUAL_TUNING,
    Basins: BASIN,
    Scaling: SCALING,
    Spent: SPENT,
    Verdict: VERDICT,
    Warned: WARNED,
    Winner: WINNER,
}


def say(finding: object, warnings: bool | None = None) -> list[str]:
    """Return the sentences that are said of a finding, in their order.

    With `warnings` only those that are warnings, or only the others.
    """
    return said(TABLES[type(finding)], finding, warnings)
