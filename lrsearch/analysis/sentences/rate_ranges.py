"""Sentences on a range test."""

from __future__ import annotations

from lrsearch.analysis.rate_ranges import OptimizerRange, between, by_optimizer, disagree
from lrsearch.analysis.sentence import ForEach, Sentence, Table, always
from lrsearch.range_test.finding import BELOW_STEEPEST, DECADES, HEADROOM, Finding
from lrsearch.range_test.plan import HIGH, LOW
from lrsearch.range_test.result import RangeTest
from lrsearch.text.formatting import listed, number, percent, plural


def _optimizer(found: OptimizerRange) -> str:
    suggested, coupling = found.suggested, found.test.coupling
    assert suggested is not None
    steepest = between([finding.steepest.value for finding in found.falling if finding.steepest])
    but = (
        f" Nothing was learned at batch size {listed([str(size) for size in found.silent])}."
        if found.silent
        else ""
    )
    what = "range" if coupling.rule == "none" else f"range at batch {coupling.reference}"
    return (
        f"{found.optimizer} at batch size "
        f"{listed([str(finding.batch_size) for finding in found.falling])}: the loss falls fastest "
        f"at a learning rate of {steepest}, and {_ends(found.falling)}; {what}: "
        f"{number(suggested.low, 2)} to {number(suggested.high, 2)}.{but}"
    )


def _ends(falling: list[Finding]) -> str:
    """Up to which learning rates training works."""
    known = [finding.largest.value for finding in falling if finding.largest]
    if not known:
        return f"it trains up to {number(HIGH)}, the highest that was tried"
    text = f"it trains up to {between(known)}"
    free = [str(finding.batch_size) for finding in falling if finding.largest is None]
    if free:
        text += f" (at batch size {listed(free)} up to {number(HIGH)}, the highest that was tried)"
    apart = [
        f"at batch size {finding.batch_size} {disagree(finding.largest)}"
        for finding in falling
        if finding.largest and finding.largest.disagrees
    ]
    return f"{text} ({'; '.join(apart)}; the smaller counts)" if apart else text


def _method(test: RangeTest) -> str:
    seeds = max(finding.seeds for finding in test.findings)
    return (
        f"A range ends at {number(HEADROOM)} times the largest rate that trains, at most at "
        f"{number(HIGH)}, and begins {DECADES} decades below, or at a {number(BELOW_STEEPEST)}th "
        f"of the rate where the loss falls fastest if that is lower. Found with "
        f"{plural(len(test.ramps), 'short ramp')} of the rate ({plural(seeds, 'seed')}), "
        f"{plural(test.steps, 'step')}: {percent(test.share)} of what one trial trains on."
    )


OPTIMIZER: Table[OptimizerRange] = (
    Sentence(
        "rate_ranges.nothing",
        lambda found: found.suggested is None,
        lambda found: (
            f"{found.optimizer}: the loss falls at no learning rate from {number(LOW)} to "
            f"{number(HIGH)} within a ramp: it says nothing about the range."
        ),
    ),
    Sentence("rate_ranges.optimizer", lambda found: found.suggested is not None, _optimizer),
)

RATE_RANGES: Table[RangeTest] = (
    ForEach(by_optimizer, OPTIMIZER),
    Sentence("rate_ranges.method", always, _method),
)
