"""What is said of a range test."""

from __future__ import annotations

import math
from dataclasses import replace

from ramps import ramp_of, rates_of, trained
from synthetic import RECORD, recipe, sampled, study_of, trial

from lrsearch.analysis.findings import findings
from lrsearch.analysis.rate_ranges import HEADERS, range_test_of, rows
from lrsearch.analysis.sentences import say
from lrsearch.range_test.curve import Ramp
from lrsearch.range_test.result import RangeTest
from lrsearch.space.space import Coupling


def ramp(edge: float, batch_size: int, seed: int, optimizer: str = "sgd") -> Ramp:
    losses = trained(rates_of(100), edge=edge, noise=0.02, seed=seed)
    return ramp_of(losses, 100, optimizer, batch_size, seed)


def made_of(*ramps: Ramp, coupling: Coupling | None = None) -> RangeTest:
    return RangeTest(ramps, 40_000, 3.0, coupling or Coupling(), {})


BOTH = made_of(
    *(ramp(edge, size, seed) for edge, size in ((0.1, 32), (0.4, 512)) for seed in (0, 1))
)


def test_each_optimizer_has_a_sentence_with_its_rates_and_its_range() -> None:
    first, last = say(BOTH)
    found = BOTH.suggested("sgd")
    assert found is not None
    assert first.startswith("sgd at batch size 32 and 512: the loss falls fastest at a learning")
    assert f"range: {found.low:.2g} to {found.high:.2g}." in first
    assert "4 short ramps" in last
    assert "(2 seeds)" in last
    assert "400 steps" in last


def test_a_batch_size_that_shows_nothing_is_told() -> None:
    flat = ramp_of([2.3] * 100, 100, "sgd", 512)
    text = say(made_of(ramp(0.1, 32, 0), flat))[0]
    assert "Nothing was learned at batch size 512." in text
    assert text.startswith("sgd at batch size 32: ")
    nothing = say(made_of(flat))[0]
    assert "falls at no learning rate from 1e-06 to 10" in nothing


def test_where_no_rate_is_too_large_the_highest_that_was_tried_is_told() -> None:
    text = say(made_of(ramp(math.inf, 32, 0)))[0]
    assert "trains up to 10, the highest that was tried" in text
    mixed = say(made_of(ramp(math.inf, 512, 0), ramp(0.1, 32, 0)))[0]
    assert "(at batch size 512 up to 10, the highest that was tried)" in mixed


def test_with_a_coupling_it_says_at_which_batch_size_the_range_holds() -> None:
    text = say(made_of(ramp(0.1, 32, 0), coupling=Coupling("sqrt", 256)))[0]
    assert "range at batch 256: " in text


def test_the_table_has_a_row_for_each_optimizer_and_batch_size() -> None:
    table = rows(BOTH)
    assert [row[:2] for row in table] == [("sgd", "32"), ("sgd", "512")]
    assert all(len(row) == len(HEADERS) for row in table)
    silent = rows(made_of(ramp_of([2.3] * 100)))
    assert silent == [("sgd", "32", "nowhere", "-", "-")]


def test_a_study_that_began_with_one_says_so_and_others_say_nothing() -> None:
    study = sampled(20)
    assert range_test_of(study) is None
    assert not any("Range test" in line for line in findings(study).sentences())
    begun = study_of([trial(0, recipe(), 1.0)], record={**RECORD, "range_test": BOTH.to_json()})
    told = [line for line in findings(begun).sentences() if line.startswith("Range test: ")]
    assert len(told) == len(say(BOTH))
    assert findings(replace(begun, record=RECORD)).range_test is None


def test_seeds_that_disagree_are_told_in_words_in_the_table_and_the_sentence() -> None:
    test = made_of(ramp(0.1, 32, 0), ramp(1.0, 32, 1))
    largest = test.findings[0].largest
    assert largest is not None
    words = f"its seeds disagree: {largest.low:.2g} to {largest.high:.2g}"
    assert words in rows(test)[0][HEADERS.index("trains up to")]
    assert words in say(test)[0]
    assert "disagree" not in " ".join(say(BOTH))
