"""What is said of where training breaks."""

from __future__ import annotations

from dataclasses import replace

import pytest
from said import Example, check, names

from lrsearch.analysis.frontier import Border, Frontier, Reach
from lrsearch.analysis.sentences import say
from lrsearch.analysis.sentences.frontier import FRONTIER

BORDER = Border("sgd", 32, 2, 10, 0.5, 0.2)
REACH = Reach("sgd", 10, 0.3, 0.3, (), 0.3)
NONE = Frontier((), 0, 0, (), (), (), frozenset())
CALM = Frontier((), 0, 10, (), (), (REACH,), frozenset())
DIVERGED = Frontier((BORDER,), 1, 252, (3,), (), (REACH,), frozenset())
SILENT = replace(
    CALM, reached=(replace(REACH, learned=0.2, nothing=(0.25, 0.3)),), nothing=frozenset({1, 2})
)
EXAMPLES = {
    "frontier.none": Example(
        NONE, "No trial has given a result, so where training breaks is not known.", CALM
    ),
    "frontier.diverged": Example(
        DIVERGED, "1 of 252 trials diverged (under 1 %), at step 3.", CALM
    ),
    "frontier.border": Example(
        BORDER,
        "sgd at batch size 32: the smallest learning rate that diverged is 0.5, the largest that "
        "survived 0.2 (2 of 10 trials).",
        replace(BORDER, lowest_diverged=None),
    ),
    "frontier.nothing_too": Example(
        replace(DIVERGED, reached=(replace(REACH, nothing=(0.3,)),), nothing=frozenset({1})),
        "1 further trial learned nothing, ending no better than by guessing or than at the first "
        "evaluation: at a learning rate of 0.3 with sgd (1 trial).",
        SILENT,
    ),
    "frontier.nothing": Example(
        SILENT,
        "None of 10 trials diverged, but 2 learned nothing, ending no better than by guessing or "
        "than at the first evaluation: at learning rates of 0.25 to 0.3 with sgd (2 trials).",
        CALM,
    ),
    "frontier.learned": Example(
        SILENT, "The highest learning rate that learned something: 0.2 with sgd.", CALM
    ),
    "frontier.calm": Example(
        CALM,
        "None of 10 trials diverged, up to the highest learning rate tried: 0.3 with sgd (10 "
        "trials).",
        DIVERGED,
    ),
    "frontier.beyond": Example(
        replace(CALM, reached=(replace(REACH, end=0.6),)),
        "The space goes on beyond that (with sgd to 0.6, 2 times as far): whether training breaks "
        "there is not known.",
        CALM,
    ),
    "frontier.end": Example(
        CALM,
        "That is the end of the space: to see training break takes a wider one.",
        SILENT,
    ),
    "frontier.out_of_memory": Example(
        replace(NONE, out_of_memory=((256, 1), (512, 3))),
        "Memory ran out at batch size 256 (1 trial) and 512 (3 trials).",
        CALM,
    ),
}


@pytest.mark.parametrize("name", names(FRONTIER))
def test_a_sentence_is_said_where_it_is_true(name: str) -> None:
    check(FRONTIER, name, EXAMPLES)


def test_several_that_diverged_are_told_by_the_median_and_the_last_step() -> None:
    text = say(replace(DIVERGED, diverged=126, steps=(1, 3, 9)))[0]
    assert text == "126 of 252 trials diverged (50 %), half of them by step 3, the last at step 9."
