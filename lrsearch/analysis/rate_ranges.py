"""Results of a range test, in sentences and table rows."""

from __future__ import annotations

from lrsearch.analysis.study_data import StudyData
from lrsearch.range_test.finding import BELOW_STEEPEST, DECADES, HEADROOM, Finding, Spread
from lrsearch.range_test.plan import HIGH, LOW, RampPlan
from lrsearch.range_test.result import RangeTest
from lrsearch.range_test.stored import RECORD_KEY
from lrsearch.text.formatting import listed, number, percent, plural

HEADERS = ("optimizer", "batch size", "falls fastest at", "trains up to", "diverges at")


def range_test_of(study: StudyData) -> RangeTest | None:
    """Return the range test that a study began with; None if there was none."""
    plain = study.record.get(RECORD_KEY)
    return None if plain is None else RangeTest.from_json(plain)


def sentences(test: RangeTest) -> list[str]:
    """A line for each optimizer, then how it was found and what it took."""
    seeds = max(finding.seeds for finding in test.findings)
    share = percent(test.share) if test.share >= 0.01 else "less than 1 %"
    return [
        *(_of_optimizer(test, optimizer) for optimizer in test.optimizers),
        f"A range ends at {number(HEADROOM)} times the largest rate that trains, at most at "
        f"{number(HIGH)}, and begins {DECADES} decades below, or at a "
        f"{number(BELOW_STEEPEST)}th of the rate where the loss falls fastest if that is lower. "
        f"Found with {plural(len(test.ramps), 'short ramp')} of the rate "
        f"({plural(seeds, 'seed')}), {plural(test.steps, 'step')}: "
        f"{share} of what one trial trains on.",
    ]


def _of_optimizer(test: RangeTest, optimizer: str) -> str:
    findings = [finding for finding in test.findings if finding.optimizer == optimizer]
    falling = [finding for finding in findings if finding.falls]
    suggested = test.suggested(optimizer)
    if suggested is None:
        return (
            f"{optimizer}: the loss falls at no learning rate from {number(LOW)} to {number(HIGH)} "
            f"within a ramp: it says nothing about the range."
        )
    steepest = _between([finding.steepest.value for finding in falling if finding.steepest])
    silent = [str(finding.batch_size) for finding in findings if not finding.falls]
    but = f" Nothing was learnt at batch size {listed(silent)}." if silent else ""
    what = "range" if test.coupling.rule == "none" else f"range at batch {test.coupling.reference}"
    return (
        f"{optimizer} at batch size {listed([str(finding.batch_size) for finding in falling])}: "
        f"the loss falls fastest at a learning rate of {steepest}, and {_ends(falling)}; {what}: "
        f"{number(suggested.low, 2)} to {number(suggested.high, 2)}.{but}"
    )


def _ends(falling: list[Finding]) -> str:
    """Return up to which learning rates training works, in words."""
    known = [finding.largest.value for finding in falling if finding.largest]
    if not known:
        return f"it trains up to {number(HIGH)}, the highest that was tried"
    text = f"it trains up to {_between(known)}"
    free = [str(finding.batch_size) for finding in falling if finding.largest is None]
    if free:
        text += f" (at batch size {listed(free)} up to {number(HIGH)}, the highest that was tried)"
    apart = [
        f"at batch size {finding.batch_size} {_disagree(finding.largest)}"
        for finding in falling
        if finding.largest and finding.largest.disagrees
    ]
    return f"{text} ({'; '.join(apart)}; the smaller counts)" if apart else text


def _disagree(spread: Spread) -> str:
    return f"its seeds disagree: {_between([spread.low, spread.high])}"


def _between(rates: list[float]) -> str:
    low, high = number(min(rates), 2), number(max(rates), 2)
    return low if low == high else f"{low} to {high}"


def rows(test: RangeTest) -> list[tuple[str, ...]]:
    """A row of HEADERS for each optimizer and batch size."""
    return [
        (
            finding.optimizer,
            str(finding.batch_size),
            _spread(finding.steepest, "nowhere"),
            _largest(finding),
            _spread(finding.diverged, "-"),
        )
        for finding in test.findings
    ]


def _largest(finding: Finding) -> str:
    largest = finding.largest
    if largest is None:
        return f"{number(HIGH)} (not beyond)" if finding.falls else "-"
    if largest.disagrees:
        return f"{number(largest.value, 2)} ({_disagree(largest)})"
    return _spread(largest, "-")


def _spread(spread: Spread | None, otherwise: str) -> str:
    """The middle, and the ends over the seeds where they differ."""
    if spread is None:
        return otherwise
    middle, ends = number(spread.value, 2), _between([spread.low, spread.high])
    return middle if ends == middle else f"{middle} ({ends})"


def plan_sentence(plan: RampPlan) -> str:
    """Describe the planned range test."""
    sizes = listed([str(size) for size in plan.batch_sizes])
    return (
        f"{plural(plan.ramps, 'ramp')} of at most {plural(plan.steps, 'step')} "
        f"({listed(plan.optimizers)}; batch size {sizes}; {plural(plan.seeds, 'seed')}), "
        f"at most {percent(plan.share)} of what one trial trains on"
    )
