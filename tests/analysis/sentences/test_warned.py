"""What is said of doubts about a study."""

from __future__ import annotations

import pytest
from said import Example, check, names

from lrsearch.analysis.sentences.warned import WARNED
from lrsearch.analysis.warned import Warned

CLEAN = Warned(None, 0, None, "")
OTHER_DATA = Warned("not mnist: digits stand in for it (no network)", 0, None, "")
ONE = Warned(None, 1, 6, "the rate is not the recipe's")
EXAMPLES = {
    "warned.stand_in": Example(
        OTHER_DATA,
        "WARNING: not mnist: digits stand in for it (no network). Do not use these numbers for the "
        "data that you wanted.",
        CLEAN,
    ),
    "warned.trials": Example(
        ONE, "WARNING: 1 trial has a warning; trial 6: the rate is not the recipe's.", CLEAN
    ),
}


@pytest.mark.parametrize("name", names(WARNED))
def test_a_sentence_is_said_where_it_is_true(name: str) -> None:
    check(WARNED, name, EXAMPLES)
