"""What is said of how sensitive training is to the learning rate."""

from __future__ import annotations

from dataclasses import replace

import pytest
from said import Example, check, names

from lrsearch.analysis.basin import Basins, GoodRates
from lrsearch.analysis.response import Basin, Curve
from lrsearch.analysis.sentences import say
from lrsearch.analysis.sentences.basin import BASIN

CURVE = Curve(
    batch_size=64, rates=(0.01, 0.1, 1.0), losses=(2.0, 1.0, 3.0), low=(1.9, 0.9, 2.9),
    high=(2.1, 1.1, 3.1), optimum=0.1, optimum_low=0.08, optimum_high=0.13, inside=1.0,
    basin=Basin(0.05, 0.3, open_low=False, open_high=False, width_low=4.2, width_high=8.1),
)  # fmt: skip
AT_THE_END = replace(CURVE, basin=replace(CURVE.basin, low=0.995, high=1.0, open_high=True))
OPEN = replace(CURVE, basin=replace(CURVE.basin, open_low=True, open_high=True))
CLOSED = GoodRates("sgd", "scheduler", "cosine", complete=12, pruned=0, curve=CURVE)
AT_LEAST = replace(CLOSED, curve=OPEN, pruned=3, aligned=True)
FEW = replace(CLOSED, group="step", complete=2, curve=None)
KNOWN = Basins((CLOSED, FEW), None)
NOTHING = Basins((FEW,), None)
FIXED = Basins((FEW,), 0.1)
EXAMPLES = {
    "basin.fixed": Example(
        FIXED,
        "Every trial had the learning rate 0.1: how sensitive training is to it is not known.",
        KNOWN,
    ),
    "basin.nothing": Example(
        NOTHING,
        "Too few trials to tell how wide the good basin is: it takes 5 complete trials of one "
        "optimizer and scheduler (or batch size) at different learning rates.",
        KNOWN,
    ),
    "basin.widest": Example(
        KNOWN,
        "The range of learning rates within 5 % of the best, by a smooth curve fitted to the "
        "values, is for sgd with cosine a factor of 6 wide (95 % interval over trials 4.2 to 8.1), "
        "learning rates 0.05 to 0.3 (12 complete trials).",
        NOTHING,
    ),
    "basin.width": Example(
        CLOSED,
        "sgd with cosine: a factor of 6 wide (95 % interval over trials 4.2 to 8.1), learning "
        "rates 0.05 to 0.3 (12 complete trials).",
        AT_LEAST,
    ),
    "basin.at_least": Example(
        AT_LEAST,
        "sgd with cosine: at least a factor of 6 wide, up to the smallest and the largest rate "
        "that was tried: learning rates 0.05 to 0.3 at batch size 64 (12 complete trials and the "
        "forecasts of 3 pruned ones).",
        CLOSED,
    ),
    "basin.at_the_end": Example(
        replace(CLOSED, curve=AT_THE_END),
        "sgd with cosine: not known, since the best lies at the largest rate that was tried, 1 "
        "(12 complete trials).",
        AT_LEAST,
    ),
    "basin.few": Example(KNOWN, "Too few trials to tell: sgd with step.", NOTHING),
    "basin.others": Example(
        KNOWN,
        "Other parameters may have varied, too: the curve is that of a training in which they are "
        "as they were on average.",
        NOTHING,
    ),
}


@pytest.mark.parametrize("name", names(BASIN))
def test_a_sentence_is_said_where_it_is_true(name: str) -> None:
    check(BASIN, name, EXAMPLES)


def test_the_widest_is_said_first() -> None:
    narrow = replace(
        CLOSED, group="linear", curve=replace(CURVE, basin=replace(CURVE.basin, high=0.1))
    )
    lines = say(Basins((narrow, CLOSED), None))
    assert "with cosine" in lines[0]
    assert lines[1].startswith("sgd with linear")
    assert len([line for line in lines if "with cosine" in line]) == 1
