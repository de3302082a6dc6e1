"""The verdict, in one or two lines."""

from __future__ import annotations

from dataclasses import replace

import pytest
from said import Example, check, names

from lrsearch.analysis.sentences import say
from lrsearch.analysis.sentences.verdict import VERDICT
from lrsearch.analysis.verdict import Reference, Rival, Verdict

NONE = Verdict("val_loss", None, None, 0, False, None, None, None)
ONE = Verdict("val_loss", 9, 0.0734912, 1, True, None, None, None)
DEFAULT = Reference(0, True, 0.3512, lead=0.2777, noise=0.002, place=22)
LUCKY = Rival(23, 0.0012, 0.003, 0.55, confirmed=True)
BEST = Verdict("val_loss", 9, 0.0734912, 40, True, 0.0014, DEFAULT, LUCKY)
SURE = replace(BEST, rival=replace(LUCKY, luck=0.004))
SEARCH = replace(BEST, rival=replace(LUCKY, confirmed=False))
UNKNOWN = replace(BEST, rival=replace(LUCKY, luck=None, confirmed=False))
TIED = replace(BEST, rival=replace(LUCKY, lead=0.0, ties=(23,)))
EVEN = replace(BEST, rival=replace(LUCKY, lead=-0.0001))
HARDLY = replace(BEST, reference=replace(DEFAULT, value=0.0745, lead=0.001))
WORSE = replace(BEST, reference=replace(DEFAULT, value=0.0725, lead=-0.001))
EXAMPLES = {
    "verdict.none": Example(
        NONE, "No trial has run to its end, so there is no recipe to recommend yet.", ONE
    ),
    "verdict.use": Example(BEST, "Use trial 9.", NONE),
    "verdict.better": Example(
        BEST, "It is far better than the default (trial 0: 0.3512 against 0.0735).", HARDLY
    ),
    "verdict.hardly_better": Example(
        HARDLY,
        "It is no more than seed noise better than the default (trial 0: 0.0745 against 0.0735).",
        BEST,
    ),
    "verdict.not_better": Example(
        WORSE, "It is no better than the default (trial 0: 0.0725 against 0.0735).", BEST
    ),
    "verdict.tie": Example(
        TIED, "It is a tie with trial 23 at val_loss 0.07349: either will do.", BEST
    ),
    "verdict.even": Example(
        EVEN, "Trial 23 is as good, as far as the runs on fresh seeds tell.", BEST
    ),
    "verdict.luck": Example(
        BEST, "Its lead over trial 23 may be luck: trial 23 is better with probability 55 %.", SURE
    ),
    "verdict.no_luck": Example(
        SURE,
        "Its lead over trial 23 is hardly luck: trial 23 is better with probability under 1 %.",
        BEST,
    ),
    "verdict.unknown": Example(
        UNKNOWN,
        "Whether its lead over trial 23 is luck is not known: no recipe was trained with two "
        "seeds.",
        BEST,
    ),
    "verdict.only": Example(
        ONE,
        "It is the only one that ran to its end, so there is nothing to compare it with.",
        BEST,
    ),
}


def test_values_that_look_the_same_are_shown_once() -> None:
    blurred = replace(DEFAULT, value=0.0735, lead=0.0001, noise=0.02)
    assert "(trial 0: both 0.073)" in " ".join(say(replace(BEST, reference=blurred)))


@pytest.mark.parametrize("name", names(VERDICT))
def test_a_sentence_is_said_where_it_is_true(name: str) -> None:
    check(VERDICT, name, EXAMPLES)


def test_the_search_alone_gives_the_least_probability_of_luck() -> None:
    assert say(SEARCH)[-1] == (
        "Its lead over trial 23 may be luck: trial 23 is better with probability at least 55 %."
    )
    certain = replace(SEARCH, rival=replace(LUCKY, luck=0.001, confirmed=False))
    assert say(certain)[-1] == (
        "Its lead over trial 23 is larger than seed noise, but it was picked as the best of 40."
    )


def test_of_many_ties_only_the_number_is_told() -> None:
    many = replace(BEST, rival=replace(LUCKY, lead=0.0, ties=(1, 2, 3, 4)))
    assert say(many)[-1] == (
        "It is a tie with 4 other trials at val_loss 0.07349: any of them will do."
    )
    two = replace(BEST, rival=replace(LUCKY, lead=0.0, ties=(1, 2)))
    assert "a tie with trial 1 and trial 2 " in say(two)[-1]


def test_the_setting_tried_first_is_named_so_and_the_best_may_be_that_itself() -> None:
    mine = replace(BEST, reference=replace(DEFAULT, is_default=False, noise=None))
    assert say(mine)[1] == (
        "It is better than the setting tried first (trial 0: 0.3512 against 0.07349)."
    )
    itself = replace(BEST, reference=replace(DEFAULT, trial=9, lead=0.0, place=1))
    assert say(itself)[0] == ("Use trial 9, the default: nothing else that was tried is better.")
    assert len(say(itself)) == 2


def test_while_it_runs_the_verdict_is_for_now() -> None:
    assert say(replace(BEST, ended=False))[0] == "Use trial 9 for now."


def test_of_several_candidates_any_other_may_be_better() -> None:
    three = replace(BEST, rival=replace(LUCKY, candidates=3))
    assert say(three)[-1] == (
        "Its lead over trial 23 may be luck: another candidate is better with probability 55 %."
    )
