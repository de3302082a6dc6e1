"""What several seeds and batch sizes say together, and the range that follows."""

from __future__ import annotations

import math

import pytest
from ramps import ramp_of, rates_of, trained

from lrsearch.range_test.curve import Ramp, mean_curves
from lrsearch.range_test.finding import (
    BELOW_STEEPEST,
    DECADES,
    HEADROOM,
    Suggested,
    find,
    suggest,
)
from lrsearch.range_test.plan import HIGH
from lrsearch.range_test.result import RangeTest
from lrsearch.space.space import Coupling

RATES = rates_of(100)


def ramps(edge: float, batch_size: int = 32, seeds: int = 3, optimizer: str = "sgd") -> list[Ramp]:
    return [
        ramp_of(trained(RATES, edge=edge, noise=0.05, seed=seed), 100, optimizer, batch_size, seed)
        for seed in range(seeds)
    ]


def flat(batch_size: int = 32, optimizer: str = "sgd") -> Ramp:
    return ramp_of([2.3] * 100, 100, optimizer, batch_size)


def test_the_middle_of_the_seeds_counts_and_their_ends_are_told() -> None:
    (finding,) = find([*ramps(0.2, seeds=1), *ramps(0.3, seeds=1), *ramps(0.4, seeds=1)])
    assert finding.seeds == 3
    assert finding.largest is not None
    assert finding.largest.low < finding.largest.value < finding.largest.high
    assert finding.largest.value == pytest.approx(0.3, rel=0.5)


def test_where_seeds_disagree_the_smallest_counts_and_the_range_is_made_from_it() -> None:
    (finding,) = find([*ramps(0.1, seeds=1), *ramps(1.0, seeds=1)])
    assert finding.largest is not None
    assert finding.largest.disagrees
    assert finding.largest.value == finding.largest.low < finding.largest.high / 3
    found = suggest([finding], "sgd")
    assert found is not None
    assert found.high == pytest.approx(HEADROOM * finding.largest.low, rel=0.06)


def test_a_rate_at_which_the_mean_loss_is_above_its_beginning_does_not_train() -> None:
    far = ramp_of([*trained(RATES, edge=0.3)][:75] + [9.0] * 25, 100, seed=1)
    (finding,) = find([*ramps(0.13, seeds=1), far])
    assert finding.largest is not None
    (curve,) = mean_curves([*ramps(0.13, seeds=1), far])
    at = sum(rate <= finding.largest.value for rate in curve.rates) - 1
    assert curve.losses[at] <= curve.losses[0]


def test_there_is_nothing_to_tell_unless_most_seeds_show_it() -> None:
    (finding,) = find([*ramps(0.3, seeds=1), flat(), flat()])
    assert not finding.falls
    assert (finding.steepest, finding.largest) == (None, None)
    assert suggest([finding], "sgd") is None


@pytest.mark.parametrize("edge", [0.02, 0.05, 0.1])
def test_the_range_ends_above_the_largest_rate_that_trains_and_begins_decades_below(
    edge: float,
) -> None:
    findings = find(ramps(edge))
    largest = findings[0].largest
    found = suggest(findings, "sgd")
    assert largest is not None
    assert found is not None
    assert found.high == pytest.approx(HEADROOM * largest.value, rel=0.06)
    assert found.high >= HEADROOM * largest.value
    assert math.log10(found.high / found.low) == pytest.approx(DECADES, abs=0.05)


def test_the_range_always_reaches_well_below_the_steepest_descent() -> None:
    findings = find(ramps(5.0))
    steepest = findings[0].steepest
    found = suggest(findings, "sgd")
    assert steepest is not None
    assert found is not None
    assert found.low == pytest.approx(steepest.value / BELOW_STEEPEST, rel=0.06)
    assert found.low < found.high / 10**DECADES


def test_the_range_covers_all_batch_sizes() -> None:
    small, large = ramps(0.1, 32), ramps(1.0, 512)
    alone = [suggest(find(some), "sgd") for some in (small, large)]
    both = suggest(find([*small, *large]), "sgd")
    assert both is not None
    assert both.low == min(one.low for one in alone if one)
    assert both.high == max(one.high for one in alone if one)


def test_with_a_coupling_it_is_the_range_at_the_reference_batch_size() -> None:
    found = suggest(find(ramps(0.4, 512)), "sgd", Coupling("linear", 128))
    plain = suggest(find(ramps(0.4, 512)), "sgd")
    assert found is not None
    assert plain is not None
    assert found.high == pytest.approx(plain.high / 4, rel=0.05)


def test_where_no_rate_is_too_large_it_ends_at_the_highest_that_was_tried() -> None:
    found = suggest(find(ramps(math.inf)), "sgd")
    assert found is not None
    assert found.high == HIGH


def test_each_optimizer_has_its_own() -> None:
    findings = find([*ramps(0.3), *ramps(0.003, optimizer="adamw"), flat(optimizer="adadelta")])
    sgd, adamw = suggest(findings, "sgd"), suggest(findings, "adamw")
    assert sgd is not None
    assert adamw is None or adamw.high < sgd.high
    assert suggest(findings, "adadelta") is None


def test_a_study_keeps_all_of_it_as_plain_values() -> None:
    broken = ramp_of([*trained(RATES)[:50], math.nan, math.inf])
    ranges = {"lr": Suggested(1e-3, 1.0).to_dict()}
    test = RangeTest((*ramps(0.3), broken), 1000, 2.5, Coupling("sqrt", 64), ranges)
    plain = test.to_json()
    assert plain["ramps"][-1]["losses"][-2:] == [None, None]
    again = RangeTest.from_json(plain)
    assert again.to_json() == plain
    assert repr(again.findings) == repr(test.findings)
    assert again.share == sum(len(one.rates) for one in test.ramps) * 32 / 1000
