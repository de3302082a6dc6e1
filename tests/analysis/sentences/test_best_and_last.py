"""What is said of the best against the last evaluation."""

from __future__ import annotations

from dataclasses import replace

import pytest
from said import Example, check, names

from lrsearch.analysis.best_and_last import BestAndLast, TwoEvaluations
from lrsearch.analysis.sentences import say
from lrsearch.analysis.sentences.best_and_last import BEST_AND_LAST
from lrsearch.settings import MetricSettings

OVERFITS = TwoEvaluations(
    trial=6, best=0.3712, last=0.0823, epoch=2.0, last_epoch=30.0, share=2 / 30, phase="warm-up",
    differs=True,
)  # fmt: skip
STEADY = TwoEvaluations(
    trial=9, best=0.3612, last=0.3587, epoch=28.0, last_epoch=30.0, share=28 / 30, phase="decay",
    differs=False,
)  # fmt: skip
LAST = BestAndLast(
    metric=MetricSettings("val_r2", "max", "last"), deviation=0.031, from_confirmation=True,
    stops_early=False, keeps_weights=True, leaders=(OVERFITS, STEADY), ends_best=STEADY,
)  # fmt: skip
BEST = replace(LAST, metric=MetricSettings("val_r2", "max", "best"))
SAME = replace(LAST, leaders=(STEADY,))
EXAMPLES = {
    "best_and_last.best": Example(
        BEST,
        "WARNING: trial 6 counts by its best evaluation, val_r2 0.371 at epoch 2 of 30 (7 % of "
        "the training, in its warm-up); its last one has 0.082. That is more than noise between "
        "seeds explains (standard deviation 0.031, from the confirmation's runs). The weights "
        "that are kept are those of that evaluation: the recipe trained to its end is worse.",
        LAST,
    ),
    "best_and_last.ends_best": Example(
        BEST,
        "By the last evaluation (metric.at=last) trial 9 is the best, with val_r2 0.359.",
        replace(BEST, ends_best=OVERFITS),
    ),
    "best_and_last.last": Example(
        LAST,
        "WARNING: trial 6 was better before it ended: val_r2 0.371 at epoch 2 of 30 (7 % of the "
        "training, in its warm-up), and 0.082 at its last evaluation, which counts. That is more "
        "than noise between seeds explains (standard deviation 0.031, from the confirmation's "
        "runs). A shorter training may do better, or metric.at=best, which takes the best "
        "evaluation and its weights.",
        SAME,
    ),
    "best_and_last.others": Example(
        replace(LAST, leaders=(STEADY, OVERFITS)),
        "Of the other leading trials, trial 6 was clearly better before the last evaluation. That "
        "is more than noise between seeds explains (standard deviation 0.031, from the "
        "confirmation's runs).",
        LAST,
    ),
}


@pytest.mark.parametrize("name", names(BEST_AND_LAST))
def test_a_sentence_is_said_where_it_is_true(name: str) -> None:
    check(BEST_AND_LAST, name, EXAMPLES)


def test_nothing_is_said_where_the_two_agree() -> None:
    assert say(SAME) == []
    assert say(replace(BEST, leaders=(STEADY,))) == []


def test_a_rule_of_thumb_is_called_one() -> None:
    (line,) = say(replace(LAST, deviation=None))
    assert "The noise between seeds is not known; by rule of thumb" in line


def test_where_training_stops_early_it_stopped() -> None:
    (line,) = say(replace(LAST, stops_early=True))
    assert "was better before it stopped" in line


def test_without_a_known_schedule_no_phase_is_named() -> None:
    (line,) = say(replace(LAST, leaders=(replace(OVERFITS, phase=None),)))
    assert "(7 % of the training)" in line
