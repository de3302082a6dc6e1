"""Result of a confirmation: from its runs to the confirmed winner."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from lrsearch.evaluation import SampleMeans
from lrsearch.measures import limits
from lrsearch.states import Outcome, WorkState, in_words

if TYPE_CHECKING:
    from lrsearch.confirm.model import Estimate
    from lrsearch.confirm.sampling import SamplingError

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
    samples: SampleMeans = field(default_factory=SampleMeans)
    """The metric on each validation sample, of which the value is the mean."""


@dataclass(frozen=True)
class Over:
    """What the 95 % intervals of a result are over: what else it might have come out as."""

    part: str
    """Of the samples: `validation` or `test`."""
    seeds: bool
    """Over training seeds; False where there is one training, which does not tell."""
    samples: bool
    """Over the samples of the part."""
    count: int | None
    """Number of samples of the part; None where not known."""
    unknown: str | None = None
    """Why the interval is not over samples, in words; None where it is, or no training has told."""

    @property
    def is_known(self) -> bool:
        """Whether there is an interval at all."""
        return self.seeds or self.samples

    def to_json(self) -> list[str]:
        """Return it as a list for `best.yaml`."""
        seeds = ["training seeds"] if self.seeds else []
        samples = [f"{self.count} {self.part} samples"] if self.samples else []
        return [*seeds, *samples]


@dataclass(frozen=True)
class Score:
    """Mean of the scores of the winner's runs on the test part, with its 95 % interval."""

    mean: float
    low: float
    high: float
    over: Over


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
    samples: Sequence[Mapping[str, SampleMeans]] = ()
    """Of each of its runs, each score on the samples of which it is the mean."""
    has_listed_loss: bool = False
    """Whether losses are those of the catalogue, which are not below 0."""

    @property
    def means(self) -> dict[str, float]:
        """Mean of each score over the runs; empty while there is none."""
        return {name: score.mean for name, score in self.results.items()}

    @cached_property
    def results(self) -> dict[str, Score]:
        """Each score over the runs; empty while there is none."""
        return {name: self._result(name) for name in (self.scores[0] if self.scores else ())}

    def _result(self, name: str) -> Score:
        from lrsearch.confirm.model import estimate

        values = {run: scores[name] for run, scores in enumerate(self.scores)}
        mean = sum(values.values()) / len(values)
        samples = {run: known.get(name, SampleMeans()) for run, known in enumerate(self.samples)}
        error = _sampling_error({self.trial: samples})
        over = _over("test", {self.trial: len(values)}, samples.values(), error)
        if not (over.is_known and all(map(math.isfinite, values.values()))):
            return Score(mean, mean, mean, over)
        found = estimate({self.trial: values}, "min", error)[self.trial]
        least, most = limits(name, values.values(), self.has_listed_loss)
        low, high = max(found.low, least), min(found.high, most)
        return Score(mean, low, high, over)


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
    over: Over
    """What the intervals are over: the same for all candidates."""


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
    has_listed_loss: bool = False
    """Whether losses are those of the catalogue, which are not below 0."""

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
    def _complete(self) -> dict[int, list[Run]]:
        """The complete runs of each candidate."""
        return {
            trial: [
                run
                for run in self.runs
                if run.trial == trial and run.outcome == Outcome.COMPLETE and run.value is not None
            ]
            for trial in self.search_values
        }

    @cached_property
    def _alive(self) -> dict[int, list[Run]]:
        """The complete runs of those candidates that can win."""
        broken = broken_candidates(self.runs)
        return {
            trial: runs for trial, runs in self._complete.items() if runs and trial not in broken
        }

    @cached_property
    def _error(self) -> SamplingError | None:
        """How far other validation samples would move the candidates; None where not known."""
        return _sampling_error(
            {trial: {run.seed: run.samples for run in runs} for trial, runs in self._alive.items()}
        )

    @cached_property
    def over(self) -> Over:
        """What the intervals of the candidates are over."""
        counts = {trial: len(runs) for trial, runs in self._alive.items()}
        samples = [run.samples for runs in self._alive.values() for run in runs]
        return _over("validation", counts, samples, self._error)

    @cached_property
    def candidates(self) -> tuple[Candidate, ...]:
        """The candidates by their probability of being the best; broken ones last."""
        from lrsearch.confirm.model import estimate  # numpy: not for every command

        values = {
            trial: {run.seed: run.value for run in runs if run.value is not None}
            for trial, runs in self._complete.items()
        }
        broken = broken_candidates(self.runs)
        alive = {trial: values[trial] for trial in self._alive}
        estimates = estimate(alive, self.mode, self._error) if alive else {}
        for trial, found in estimates.items():
            least, most = limits(self.metric, alive[trial].values(), self.has_listed_loss)
            estimates[trial] = replace(found, low=max(found.low, least), high=min(found.high, most))
        dropped = {run.trial for run in self.runs if run.outcome == Outcome.DROPPED}
        listed = [
            Candidate(
                trial=trial,
                search_value=self.search_values[trial],
                values=known,
                estimate=estimates.get(trial),
                broken=broken.get(trial),
                given_up=trial in dropped,
                over=self.over,
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
            "interval_over": self.over.to_json(),
            "probability_best": winner.estimate.probability,
            "candidates": len(self.candidates),
            "values": {str(seed): value for seed, value in winner.values.items()},
            "found_in_search": winner.search_value,
            "luck_in_lead": self.luck,
        }
        if not self.over.is_known:
            plain["interval"] = None
        if self.test is not None and self.test.results:
            plain["test"] = {
                **self.test.means,
                "intervals": {
                    name: {"interval": [score.low, score.high], "over": score.over.to_json()}
                    for name, score in self.test.results.items()
                    if score.over.is_known
                },
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


def _sampling_error(
    samples: Mapping[int, Mapping[int, SampleMeans]],
) -> SamplingError | None:
    """How far other samples would move means; None where a run has no values on samples."""
    known = [means for by_seed in samples.values() for means in by_seed.values()]
    if not known or not all(means.means for means in known):
        return None
    if len({means.count for means in known}) > 1:  # tuned data: other samples
        return None
    from lrsearch.confirm.sampling import sampling_error

    return sampling_error(
        {
            trial: {seed: means.means for seed, means in by_seed.items()}
            for trial, by_seed in samples.items()
        }
    )


def _over(
    part: str,
    runs: Mapping[int, int],
    samples: Iterable[SampleMeans],
    error: SamplingError | None,
) -> Over:
    """What the intervals are over; `runs` has the number of each candidate's runs."""
    samples = list(samples)
    seeds = sum(runs.values()) > 1
    counts = {means.count for means in samples}
    count = counts.pop() if len(counts) == 1 else None
    if error is not None:
        return Over(part, seeds, True, count)
    reasons = [means.unknown for means in samples if means.unknown is not None]
    if not reasons and any(means.means for means in samples):
        reasons = ["the runs were not evaluated on the same samples"]
    return Over(part, seeds, False, count, reasons[0] if reasons else None)


def _order(candidate: Candidate) -> tuple[bool, float, float]:
    """Return the sort key of a candidate: the likeliest best first, those without estimate last."""
    if candidate.estimate is None:
        return True, 0.0, 0.0
    return False, -candidate.estimate.probability, candidate.estimate.behind
