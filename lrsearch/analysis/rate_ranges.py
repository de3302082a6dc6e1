"""Results of a range test for the report: by optimizer, and as rows of a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lrsearch.analysis.study_data import StudyData
from lrsearch.range_test.finding import Finding, Spread, Suggested
from lrsearch.range_test.plan import HIGH, RampPlan
from lrsearch.range_test.result import RangeTest
from lrsearch.range_test.stored import RECORD_KEY
from lrsearch.text.formatting import listed, number, percent, plural

HEADERS = ("optimizer", "batch size", "falls fastest at", "trains up to", "diverges at")


def range_test_of(study: StudyData) -> RangeTest | None:
    """Return the range test that a study began with; None if there was none."""
    plain = study.record.get(RECORD_KEY)
    return None if plain is None else RangeTest.from_json(plain)


@dataclass(frozen=True)
class OptimizerRange:
    """What a range test has found for one optimizer."""

    test: RangeTest
    optimizer: str

    @property
    def findings(self) -> list[Finding]:
        """The findings at each batch size."""
        return [finding for finding in self.test.findings if finding.optimizer == self.optimizer]

    @property
    def falling(self) -> list[Finding]:
        """The findings of those batch sizes at which the loss falls at some rate."""
        return [finding for finding in self.findings if finding.falls]

    @property
    def silent(self) -> list[int]:
        """The batch sizes at which the loss falls at no rate."""
        return [finding.batch_size for finding in self.findings if not finding.falls]

    @property
    def suggested(self) -> Suggested | None:
        """The range for the study; None where the loss falls at no rate."""
        return self.test.suggested(self.optimizer)


def by_optimizer(test: RangeTest) -> list[OptimizerRange]:
    """What the test has found for each optimizer."""
    return [OptimizerRange(test, optimizer) for optimizer in test.optimizers]


def disagree(spread: Spread) -> str:
    """That the seeds of a rate disagree, and how far."""
    return f"its seeds disagree: {between([spread.low, spread.high])}"


def between(rates: Sequence[float]) -> str:
    """Learning rates as a range: `0.01 to 0.3`, or `0.01`."""
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
        return f"{number(largest.value, 2)} ({disagree(largest)})"
    return _spread(largest, "-")


def _spread(spread: Spread | None, otherwise: str) -> str:
    """The middle, and the ends over the seeds where they differ."""
    if spread is None:
        return otherwise
    middle, ends = number(spread.value, 2), between([spread.low, spread.high])
    return middle if ends == middle else f"{middle} ({ends})"


def plan_sentence(plan: RampPlan) -> str:
    """Describe the planned range test."""
    sizes = listed([str(size) for size in plan.batch_sizes])
    return (
        f"{plural(plan.ramps, 'ramp')} of at most {plural(plan.steps, 'step')} "
        f"({listed(plan.optimizers)}; batch size {sizes}; {plural(plan.seeds, 'seed')}), "
        f"at most {percent(plan.share)} of what one trial trains on"
    )
