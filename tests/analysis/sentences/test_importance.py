"""What is said of importance."""

from __future__ import annotations

from dataclasses import replace

import pytest
from said import Example, check, names

from lrsearch.analysis.importance import Importance
from lrsearch.analysis.sentences.importance import IMPORTANCE

FEW = Importance(5, (), 5)
MANY = Importance(100, (("learning rate", 0.704), ("warmup", 0.29), ("seed", 0.006)), 10)
SAME = Importance(100, (), 10)
UNKNOWN = replace(MANY, unjudged=("step.gamma",), unvaried=("optimizer", "scheduler"))
EXAMPLES = {
    "importance.few": Example(
        FEW, "5 complete trials are too few to tell what mattered; it takes 20.", MANY
    ),
    "importance.nothing": Example(
        SAME, "Nothing that was searched varied in a way that can be held against values.", FEW
    ),
    "importance.first": Example(
        MANY,
        "What set the best 10 trials apart from all 100 complete ones most: learning rate (70 %) "
        "and warmup (29 %).",
        SAME,
    ),
    "importance.hardly": Example(MANY, "Hardly anything came of seed (below 2 %).", SAME),
    "importance.unvaried": Example(
        UNKNOWN,
        "How much optimizer and scheduler mattered cannot be told: the sampler chose nearly the "
        "same value for most trials.",
        MANY,
    ),
    "importance.unjudged": Example(
        UNKNOWN, "Fewer than 20 complete trials had step.gamma: too few to judge.", MANY
    ),
    "importance.by_model": Example(
        replace(MANY, by_model=True),
        "The sampler chose values near those that had done well, so a parameter that it soon "
        "settled on may matter more than its share says.",
        MANY,
    ),
    "importance.rough": Example(
        replace(MANY, complete=30),
        "With fewer than 50 complete trials these shares are rough.",
        MANY,
    ),
}


@pytest.mark.parametrize("name", names(IMPORTANCE))
def test_a_sentence_is_said_where_it_is_true(name: str) -> None:
    check(IMPORTANCE, name, EXAMPLES)
