"""What a confirmation has found: from its runs to the confirmed winner, in numbers and words."""

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
"""A candidate that is the best with a probability below this is trained no more."""
FEWEST_SEEDS = 2
"""Values of a candidate before it may be given up."""


@dataclass(frozen=True)
class Run:
    """A training of a trial's recipe on a fresh seed."""

    trial: int
    seed: int
    state: str
    outcome: str | None = None
    value: float | None = None


@dataclass(frozen=True)
class WinnerTest:
    """The winner's final weights on the test part."""

    trial: int
    state: str
    outcome: str | None
    reason: str | None
    scores: Sequence[Mapping[str, float]]
    """Of each of its runs: `test_loss`, `test_accuracy`."""
    opened: int
    """How often the test part of this study has been looked at, this time included."""

    @property
    def means(self) -> dict[str, float]:
        """Over the runs; empty while there is none."""
        names = self.scores[0] if self.scores else ()
        return {name: sum(one[name] for one in self.scores) / len(self.scores) for name in names}


@dataclass(frozen=True)
class Candidate:
    """One of the best trials of the search, as fresh seeds have it."""

    trial: int
    found: float
    """Its value in the search."""
    values: Mapping[int, float]
    """By seed."""
    estimate: Estimate | None
    """None without a value, or where a run of it has not come to its end."""
    broken: str | None
    """How a run of it ended early; such a candidate cannot win."""
    given_up: bool
    """Whether runs of it were not needed any more."""


@dataclass(frozen=True)
class Confirmation:
    """All runs of a study's confirmation, and what they say."""

    metric: str
    mode: Literal["min", "max"]
    found: Mapping[int, float]
    """The values of the candidates in the search."""
    tried: int
    """How many trials the search chose from."""
    runs: Sequence[Run]
    test: WinnerTest | None

    @property
    def wanted(self) -> Sequence[Run]:
        """The runs that have been or are to be trained: without those that are not needed."""
        return [run for run in self.runs if run.outcome != Outcome.DROPPED]

    @property
    def done(self) -> int:
        """How many of them have ended."""
        return sum(run.state == WorkState.DONE for run in self.wanted)

    @property
    def is_finished(self) -> bool:
        """Whether no run is left."""
        return self.done == len(self.wanted)

    @property
    def work_left(self) -> bool:
        """Whether a run, or the test, is still to come."""
        return not self.is_finished or (self.test is not None and self.test.state != WorkState.DONE)

    @cached_property
    def candidates(self) -> tuple[Candidate, ...]:
        """The likeliest best first; those that cannot win last."""
        from lrsearch.confirm.model import estimate  # numpy: not for every command

        values = {
            trial: {
                run.seed: run.value
                for run in self.runs
                if run.trial == trial and run.outcome == Outcome.COMPLETE and run.value is not None
            }
            for trial in self.found
        }
        broken = broken_candidates(self.runs)
        alive = {trial: known for trial, known in values.items() if known and trial not in broken}
        estimates = estimate(alive, self.mode) if alive else {}
        dropped = {run.trial for run in self.runs if run.outcome == Outcome.DROPPED}
        listed = [
            Candidate(
                trial=trial,
                found=self.found[trial],
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
        """The candidates that need no further runs: those that cannot win, or hardly can."""
        return {
            one.trial
            for one in self.candidates
            if one.broken
            or (
                one.estimate is not None
                and one.estimate.probability < HOPELESS
                and len(one.values) >= FEWEST_SEEDS
            )
        }

    @property
    def winner(self) -> Candidate | None:
        """The confirmed best; None while runs are left, and where no candidate can win."""
        best = self.candidates[0] if self.candidates else None
        return best if self.is_finished and best is not None and best.estimate else None

    @property
    def leader(self) -> int:
        """The best trial of the search among the candidates."""
        pick = min if self.mode == "min" else max
        return pick(self.found, key=lambda trial: self.found[trial])

    @property
    def lead(self) -> tuple[float, float] | None:
        """By how much the search's best was ahead of the mean of the others: there, and on fresh
        seeds. None where there is nobody to compare it with."""
        estimates = {one.trial: one.estimate for one in self.candidates if one.estimate}
        mine = estimates.pop(self.leader, None)
        if mine is None or not estimates:
            return None
        sign = 1.0 if self.mode == "min" else -1.0
        count = len(estimates)
        then = sum(self.found[trial] for trial in estimates) / count - self.found[self.leader]
        now = sum(one.mean for one in estimates.values()) / count - mine.mean
        return sign * then, sign * now

    @property
    def luck(self) -> float | None:
        """So much of the lead in the search is gone on fresh seeds; below 0 where it has grown."""
        return None if self.lead is None else self.lead[0] - self.lead[1]

    def to_json(self) -> dict[str, Any]:
        """Of the winner, as `best.yaml` has it; only where there is one."""
        winner = self.winner
        assert winner is not None, "asked for where there is one"
        assert winner.estimate is not None, "a winner has one"
        plain: dict[str, Any] = {
            "mean": winner.estimate.mean,
            "interval": [winner.estimate.low, winner.estimate.high],
            "probability_best": winner.estimate.probability,
            "candidates": len(self.candidates),
            "values": {str(seed): value for seed, value in winner.values.items()},
            "found_in_search": winner.found,
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
    """How runs that did not come to their end have ended, by candidate."""
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


def _order(one: Candidate) -> tuple[bool, float, float]:
    if one.estimate is None:
        return True, 0.0, 0.0
    return False, -one.estimate.probability, one.estimate.behind
