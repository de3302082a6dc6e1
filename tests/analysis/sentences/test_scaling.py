"""What is said of the learning rate against the batch size."""

from __future__ import annotations

from dataclasses import replace

import pytest
from said import Example, check, names

from lrsearch.analysis.scaling import Fit, Scaling, Unknown
from lrsearch.analysis.sentences import say
from lrsearch.analysis.sentences.scaling import SCALING

FIT = Fit(
    optimizer="sgd", exponent=0.592, low=0.412, high=0.781, batch_size=128, optimum=0.1083,
    optimum_low=0.0911, optimum_high=0.1211, sizes=(64, 128, 256, 512), trials=28,
)  # fmt: skip
ODD = replace(FIT, exponent=0.3, low=0.21, high=0.39)
FEW = Unknown("sgd", "few", 9, 2)
EDGE = Unknown("sgd", "edge", 30, 4)
FLAT = Unknown("sgd", "flat", 30, 4)
WIDE = Unknown("sgd", "wide", 30, 4)
FITTED = Scaling((FIT,), (), (64, 128, 256, 512), "none")
NOTHING = Scaling((), (), (), "none")
EXAMPLES = {
    "scaling.one_size": Example(
        Scaling((), (FEW,), (32,), "none"),
        "Every trial had the batch size 32: how the learning rate depends on it is not known.",
        FITTED,
    ),
    "scaling.exponent": Example(
        FIT,
        "sgd: the best learning rate grows as the batch size to the power 0.592 (95 % interval "
        "over trials 0.412 to 0.781; 28 trials at batch sizes 64, 128, 256 and 512). Doubling the "
        "batch size wants 1.51 times the learning rate (1.33 to 1.72).",
    ),
    "scaling.agrees": Example(FIT, "It agrees with the square-root rule (0.5).", ODD),
    "scaling.no_rule": Example(
        ODD, "None of the usual rules (0, 0.5, 1) lies inside the interval.", FIT
    ),
    "scaling.optimum": Example(
        FIT,
        "At batch size 128 its best learning rate is 0.1083 (95 % interval over trials 0.0911 to "
        "0.1211).",
    ),
    "scaling.few": Example(
        FEW,
        "sgd: too few trials to fit an exponent (9 trials at 2 batch sizes); it takes 15 that ran "
        "to their end or were pruned, at 3 batch sizes.",
        WIDE,
    ),
    "scaling.flat": Example(
        FLAT,
        "sgd: all 30 trials have the same value, so no learning rate is the best.",
        WIDE,
    ),
    "scaling.edge": Example(
        EDGE,
        "sgd: these trials cannot tell the exponent, since the best learning rate does not "
        "clearly lie inside the rates that were tried, overall or at the smallest or the largest "
        "batch size.",
        WIDE,
    ),
    "scaling.wide": Example(
        WIDE,
        "sgd: these 30 trials cannot tell the exponent: its 95 % interval over trials is too wide "
        "to choose a rule by.",
        EDGE,
    ),
    "scaling.coupled": Example(
        replace(FITTED, rule="sqrt"),
        "The rates that were tried follow the batch size, too (coupling.rule=sqrt); the exponent "
        "is that of the rates themselves, whatever the rule.",
        FITTED,
    ),
    "scaling.model_based": Example(
        replace(FITTED, sampler="tpe"),
        "The tpe sampler chose the trials by earlier ones, so the intervals are approximate.",
        FITTED,
    ),
    "scaling.nothing": Example(
        NOTHING, "No trial has run to its end, so there is nothing to fit.", FITTED
    ),
}


@pytest.mark.parametrize("name", names(SCALING))
def test_a_sentence_is_said_where_it_is_true(name: str) -> None:
    check(SCALING, name, EXAMPLES)


def test_many_batch_sizes_are_counted() -> None:
    many = replace(FIT, sizes=tuple(range(10, 110, 10)))
    assert "28 trials at 10 batch sizes from 10 to 100" in say(replace(FITTED, fits=(many,)))[0]
