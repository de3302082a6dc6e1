"""Result of a confirmation: from its runs to the confirmed winner."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from lrsearch.states import Outcome, WorkState, in_words

if TYPE_CHECKING:
    from lrsearch.confirm.model import Estimate

HOPELESS = 0.02
"""Probability of being the best below which a candidate is trained no further."""
FEWEST_SEEDS = 2
"""Number of values of a candidate before it may be given up."""


@dataclass(frozen=True)
class Run:
    """One training of a trial's recipe on a fresh seed."""

    trial: int
    seed: int
    state: str
    outcome: str | None = None
    value: float | None = None


@dataclass(frozen=True)
class WinnerTest:
    """Scores of the winner's weights on the test part of the data."""

    trial: int
    state: str
    outcome: str | None
    reason: str | None
    scores: Sequence[Mapping[str, float]]
    """Scores of each of its runs by name: `test_loss`, `test_accuracy`."""
    opened: int
    """How often the test part was used in this study, this time included."""

    @property
    def means(self) -> dict[str, float]:
        """Mean of each score over the runs; empty while there is none."""
        names = self.scores[0] if self.scores else ()
        return {
            name: sum(scores[name] for scores in self.scores) / len(self.scores) for name in names
        }


@dataclass(frozen=True)
class Candidate:
    """One of the best trials of the search, with its values on fresh seeds."""

    trial: int
    search_value: float
    """Value of the trial in the search."""
    values: Mapping[int, float]
    """Values on fresh seeds, by seed."""
    estimate: Estimate | None
    """Mean, interval and probability of being the best; None without a value, or if broken."""
    broken: str | None
    """How runs ended that did not complete, in words; None where all did.

    Such a candidate cannot win.
    """
    given_up: bool
    """Whether runs of it were dropped because it can hardly be the best."""


@dataclass(frozen=True)
class Confirmation:
    """All runs of a study's confirmation, and the results that follow from them."""

    metric: str
    mode: Literal["min", "max"]
    search_values: Mapping[int, float]
    """Values of the candidates in the search, by trial number."""
    tried: int
    """Number of trials of the search."""
    runs: Sequence[Run]
    test: WinnerTest | None

    @property
    def wanted(self) -> Sequence[Run]:
        """The runs that were or will be trained: all but the dropped ones."""
        return [run for run in self.runs if run.outcome != Outcome.DROPPED]

    @property
    def done(self) -> int:
        """Number of wanted runs that have ended."""
        return sum(run.state == WorkState.DONE for run in self.wanted)

    @property
    def is_finished(self) -> bool:
        """Whether all wanted runs have ended."""
        return self.done == len(self.wanted)

    @property
    def work_left(self) -> bool:
        """Whether a run or the test has yet to end."""
        return not self.is_finished or (self.test is not None and self.test.state != WorkState.DONE)

    @cached_property
    def candidates(self) -> tuple[Candidate, ...]:
        """The candidates by their probability of being the best; broken ones last."""
        from lrsearch.confirm.model import estimate  # numpy: not for every command

        values = {
            trial: {
                run.seed: run.value
                for run in self.runs
                if run.trial == trial and run.outcome == Outcome.COMPLETE and run.value is not None
            }
            for trial in self.search_values
        }
        broken = broken_candidates(self.runs)
        alive = {trial: known for trial, known in values.items() if known and trial not in broken}
        estimates = estimate(alive, self.mode) if alive else {}
        dropped = {run.trial for run in self.runs if run.outcome == Outcome.DROPPED}
        listed = [
            Candidate(
                trial=trial,
                search_value=self.search_values[trial],
                values=known,
                estimate=estimates.get(trial),
                broken=broken.get(trial),
                given_up=trial in dropped,
            )
            for trial, known in values.items()
        ]
        return tuple(sorted(listed, key=_order))

    @property
    def hopeless(self) -> set[int]:
        """Trial numbers of the candidates that need no further runs: broken or hardly the best."""
        return {
            candidate.trial
            for candidate in self.candidates
            if candidate.broken
            or (
                candidate.estimate is not None
                and candidate.estimate.probability < HOPELESS
                and len(candidate.values) >= FEWEST_SEEDS
            )
        }

    @property
    def winner(self) -> Candidate | None:
        """The confirmed best candidate; None while runs are left, or where no candidate can win."""
        best = self.candidates[0] if self.candidates else None
        return best if self.is_finished and best is not None and best.estimate else None

    @property
    def leader(self) -> int:
        """Number of the trial that was the best in the search."""
        pick = min if self.mode == "min" else max
        return pick(self.search_values, key=lambda trial: self.search_values[trial])

    @property
    def lead(self) -> tuple[float, float] | None:
        """Lead of the search's best over the mean of the other candidates.

        In the search, and on fresh seeds. None without an estimate of it, or of any other.
        """
        estimates = {
            candidate.trial: candidate.estimate
            for candidate in self.candidates
            if candidate.estimate
        }
        leader = estimates.pop(self.leader, None)
        if leader is None or not estimates:
            return None
        sign = 1.0 if self.mode == "min" else -1.0
        count = len(estimates)
        others = sum(self.search_values[trial] for trial in estimates) / count
        in_search = others - self.search_values[self.leader]
        fresh = sum(estimate.mean for estimate in estimates.values()) / count - leader.mean
        return sign * in_search, sign * fresh

    @property
    def luck(self) -> float | None:
        """The part of the lead in the search that is lost on fresh seeds; below 0 if it grew."""
        return None if self.lead is None else self.lead[0] - self.lead[1]

    def to_json(self) -> dict[str, Any]:
        """Return the winner's numbers for `best.yaml`; call it only where there is a winner."""
        winner = self.winner
        assert winner is not None, "only called where there is a winner"
        assert winner.estimate is not None, "a winner has an estimate"
        plain: dict[str, Any] = {
            "mean": winner.estimate.mean,
            "interval": [winner.estimate.low, winner.estimate.high],
            "probability_best": winner.estimate.probability,
            "candidates": len(self.candidates),
            "values": {str(seed): value for seed, value in winner.values.items()},
            "found_in_search": winner.search_value,
            "luck_in_lead": self.luck,
        }
        if self.test is not None and self.test.means:
            plain["test"] = {
                **self.test.means,
                "runs": len(self.test.scores),
                "times_opened": self.test.opened,
            }
        return plain


def broken_candidates(runs: Sequence[Run]) -> dict[int, str]:
    """Return how runs that did not complete ended, in words, by trial number."""
    ended: dict[int, Counter[str]] = {}
    totals = Counter(
        run.trial for run in runs if run.state == WorkState.DONE and run.outcome != Outcome.DROPPED
    )
    for run in runs:
        if run.state == WorkState.DONE and run.outcome not in (Outcome.COMPLETE, Outcome.DROPPED):
            ended.setdefault(run.trial, Counter())[in_words(str(run.outcome))] += 1
    return {
        trial: f"{', '.join(f'{n} {how}' for how, n in counts.items())} of {totals[trial]}"
        for trial, counts in ended.items()
    }


def _order(candidate: Candidate) -> tuple[bool, float, float]:
    """Return the sort key of a candidate: the likeliest best first, those without estimate last."""
    if candidate.estimate is None:
        return True, 0.0, 0.0
    return False, -candidate.estimate.probability, candidate.estimate.behind
