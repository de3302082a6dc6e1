"""What is said of schedulers and optimizers at equal tuning."""

from __future__ import annotations

from dataclasses import replace

import pytest
from said import Example, check, names

from lrsearch.analysis.equal_tuning import Interval
from lrsearch.analysis.families import ALL, Comparison, EqualTuning, Option
from lrsearch.analysis.sentence import said
from lrsearch.analysis.sentences.equal_tuning import EQUAL_TUNING
from lrsearch.settings import MetricSettings

METRIC = MetricSettings("val_loss")
COSINE = Option(
    "cosine",
    12,
    60.0,
    (0.07, 0.08),
    Interval(0.0812, 0.0795, 0.0829),
    Interval(0, 0, 0),
    0.995,
    True,
)
STEP = Option(
    "step", 14, 65.0, (0.08, 0.09), Interval(0.0897, 0.0871, 0.0923),
    Interval(0.0085, 0.0054, 0.0116), 0.003,
)  # fmt: skip
LINEAR = replace(
    STEP, name="linear", behind=Interval(0.0085, -0.0021, 0.0191), probability=0.1, may_be_best=True
)
FEW = Option("plateau", 1, 5.0, (0.1,))
CLEAR = Comparison("scheduler", METRIC, None, (COSINE, STEP), 6)
OPEN = replace(
    CLEAR, options=(replace(COSINE, probability=0.897), LINEAR, replace(STEP, name="wsd"), FEW)
)
TIE = replace(
    CLEAR,
    options=(
        replace(COSINE, probability=0.5),
        replace(LINEAR, expected=COSINE.expected, behind=Interval(0, 0, 0), probability=0.5),
    ),
)
ONE = replace(CLEAR, options=(replace(FEW, name="cosine"),), tries=None)
NONE = replace(CLEAR, options=(replace(FEW, tries=2), replace(FEW, name="wsd")), tries=None)
FOUND = EqualTuning("scheduler", METRIC, (CLEAR,))
BALANCED = replace(FOUND, comparisons=(replace(CLEAR, balanced=True),))
EXAMPLES = {
    "equal_tuning.winner": Example(
        CLEAR,
        "The best scheduler at equal tuning is cosine (probability over 99 %): its expected best "
        "val_loss is 0.0812, better than that of step by 0.0085 (95 % interval over trials: 0.0054 "
        "to 0.0116).",
        OPEN,
    ),
    "equal_tuning.no_winner": Example(
        OPEN,
        "No clear winner among cosine and linear at equal tuning: cosine comes first (probability "
        "of being best 90 %), its expected best val_loss is 0.0812, better than that of linear by "
        "0.009 (95 % interval over trials: -0.002 to 0.019).",
        CLEAR,
    ),
    "equal_tuning.tie": Example(
        TIE,
        "No clear winner among cosine and linear at equal tuning: cosine and linear tie, with an "
        "expected best val_loss of 0.0812 each.",
        OPEN,
    ),
    "equal_tuning.behind": Example(OPEN, "Clearly behind cosine: wsd.", TIE),
    "equal_tuning.nothing": Example(
        NONE, "No winner can be named: no scheduler has had the 3 trials that it takes.", OPEN
    ),
    "equal_tuning.only": Example(
        ONE, "Only cosine was tried (1 trial): there is nothing to compare.", OPEN
    ),
    "equal_tuning.short": Example(
        OPEN, "Too few trials to compare (fewer than 3): plateau (1).", CLEAR
    ),
    "equal_tuning.not_compared": Example(
        replace(FOUND, comparisons=(replace(NONE, within="adam"), replace(CLEAR, within="sgd"))),
        "Nothing can be compared with adam: no two schedulers have had the 3 trials that it takes.",
        FOUND,
    ),
    "equal_tuning.none": Example(
        replace(FOUND, comparisons=()),
        "No trial has given a result, so no schedulers can be compared.",
        FOUND,
    ),
    "equal_tuning.how": Example(
        FOUND,
        "Equal tuning: the expected best is the mean best of 6 trials, over all such choices among "
        "the trials of a scheduler; so none wins by being tried more often. A pruned trial counts "
        "with its forecast, one that diverged or ran out of memory as the worst complete one.",
        BALANCED,
    ),
    "equal_tuning.epochs": Example(
        BALANCED,
        "The schedulers were given the same epochs (60 to 65), which bought 12 to 14 trials: more "
        "where trials were pruned. Each is judged by the best to be expected of half of its "
        "trials.",
        FOUND,
    ),
    "equal_tuning.approximate": Example(
        replace(FOUND, sampler="auto"),
        "The intervals and probabilities are approximate: the auto sampler chose trials by the "
        "values of earlier ones. sampler=random with study.balance=families compares strictly.",
        FOUND,
    ),
    "equal_tuning.untried": Example(
        replace(FOUND, untried=("constant", "wsd")),
        "In the space, but never tried: constant and wsd. Nothing is known of them; study.balance "
        "gives each its share.",
        FOUND,
    ),
}


@pytest.mark.parametrize("name", names(EQUAL_TUNING))
def test_each_sentence(name: str) -> None:
    check(EQUAL_TUNING, name, EXAMPLES)


def test_the_optimizer_is_named_where_there_are_several() -> None:
    lines = said(EQUAL_TUNING, replace(FOUND, comparisons=(replace(CLEAR, within="sgd"),)))
    assert lines[0].startswith("With sgd, the best scheduler at equal tuning is cosine")


def test_schedulers_over_all_optimizers_are_said_to_be() -> None:
    lines = said(EQUAL_TUNING, replace(FOUND, comparisons=(replace(CLEAR, within=ALL),)))
    assert lines[0].startswith("Over all optimizers, the best scheduler at equal tuning is cosine")


def test_optimizers_are_called_so() -> None:
    comparison = replace(CLEAR, noun="optimizer", options=(replace(COSINE, name="adamw"), STEP))
    lines = said(EQUAL_TUNING, replace(FOUND, noun="optimizer", comparisons=(comparison,)))
    assert lines[0].startswith("The best optimizer at equal tuning is adamw")
    assert "among the trials of an optimizer" in lines[1]


def test_intervals_say_that_they_are_over_seeds_where_they_are() -> None:
    lines = said(EQUAL_TUNING, replace(FOUND, comparisons=(replace(CLEAR, over_seeds=True),)))
    assert "95 % interval over trials and training seeds: " in lines[0]


def test_a_single_option_with_enough_trials_is_named_as_the_only_one() -> None:
    enough = replace(FEW, name="step", tries=4)
    lines = said(EQUAL_TUNING, replace(FOUND, comparisons=(replace(NONE, options=(enough, FEW)),)))
    assert lines[0] == "No winner can be named: only step has had the 3 trials that it takes."


DIVERGED = replace(
    CLEAR, options=(Option("cosine", 4, 20.0, ()), Option("step", 4, 20.0, ())), tries=None
)
REPEATED = replace(
    DIVERGED,
    options=(Option("cosine", 4, 20.0, (0.1,) * 4), Option("step", 4, 20.0, (0.2,) * 4)),
)


@pytest.mark.parametrize(
    ("comparison", "why"),
    [
        (DIVERGED, "no trial has run to its end"),
        (REPEATED, "no two schedulers have had the 3 different recipes that it takes"),
    ],
)
def test_of_options_with_enough_trials_it_says_what_lacks(comparison: Comparison, why: str) -> None:
    found = replace(FOUND, comparisons=(comparison,))
    assert said(EQUAL_TUNING, found) == [f"No winner can be named: {why}."]
    several = tuple(replace(comparison, within=name) for name in ("adam", "sgd"))
    assert said(EQUAL_TUNING, replace(FOUND, comparisons=several)) == [
        f"Nothing can be compared with adam and sgd: {why}."
    ]


def test_before_any_result_nothing_is_said_of_what_was_not_tried() -> None:
    found = replace(FOUND, comparisons=(), untried=("constant",))
    assert said(EQUAL_TUNING, found) == [
        "No trial has given a result, so no schedulers can be compared."
    ]
