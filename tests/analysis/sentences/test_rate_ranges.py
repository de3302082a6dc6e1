"""What is said of a range test."""

from __future__ import annotations

import pytest
from ramps import ramp_of, rates_of, trained
from said import Example, check, names

from lrsearch.analysis.rate_ranges import OptimizerRange
from lrsearch.analysis.sentences.rate_ranges import RATE_RANGES
from lrsearch.range_test.result import RangeTest
from lrsearch.space.space import Coupling

FLAT = ramp_of([2.3] * 100, 100, "sgd", 512)
FALLS = ramp_of(trained(rates_of(100), edge=0.1, noise=0.02, seed=0), 100, "sgd", 32, 0)
NOTHING = RangeTest((FLAT,), 40_000, 3.0, Coupling(), {})
BOTH = RangeTest((FALLS, FLAT), 9_000_000, 3.0, Coupling(), {})
EXAMPLES = {
    "rate_ranges.nothing": Example(
        OptimizerRange(NOTHING, "sgd"),
        "sgd: the loss falls at no learning rate from 1e-06 to 10 within a ramp: it says nothing "
        "about the range.",
        OptimizerRange(BOTH, "sgd"),
    ),
    "rate_ranges.optimizer": Example(
        OptimizerRange(BOTH, "sgd"),
        "sgd at batch size 32: the loss falls fastest at a learning rate of 0.011, and it trains "
        "up to 0.076; range: 0.00022 to 0.23. Nothing was learned at batch size 512.",
        OptimizerRange(NOTHING, "sgd"),
    ),
    "rate_ranges.method": Example(
        BOTH,
        "A range ends at 3 times the largest rate that trains, at most at 10, and begins 3 decades "
        "below, or at a 30th of the rate where the loss falls fastest if that is lower. Found with "
        "2 short ramps of the rate (1 seed), 200 steps: 1 % of what one trial trains on.",
    ),
}


@pytest.mark.parametrize("name", names(RATE_RANGES))
def test_a_sentence_is_said_where_it_is_true(name: str) -> None:
    check(RATE_RANGES, name, EXAMPLES)
