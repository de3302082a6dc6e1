"""Training of a confirmation's runs, and the test of its winner, in a worker."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from lrsearch.errors import UserError
from lrsearch.evaluation import Evaluation, PartScores, SampleMeans
from lrsearch.queue.auxiliary_claims import AuxiliaryClaim
from lrsearch.queue.auxiliary_runs import Result, RunContext, RunResult
from lrsearch.recipe import Recipe
from lrsearch.states import Outcome
from lrsearch.storage.evaluations import to_point
from lrsearch.training.loop import Stopped
from lrsearch.tuning.trajectory import LrTrajectory

_log = logging.getLogger(__name__)
_SAME_WEIGHTS = 0.02
"""Relative difference between two evaluations of the same weights, at most: a sample may count
otherwise on a device that does not compute the same twice."""


class ConfirmRun:
    """Train a trial's recipe again on another seed; keep its weights for the winner's test."""

    def describe(self, claim: AuxiliaryClaim) -> str:
        """Name a run in a worker's log."""
        return f"trial {claim.trial_number} on fresh seed {claim.seed}"

    def metric_name(self, metric: str) -> str:
        """Return the study's metric."""
        return metric

    def run(self, context: RunContext) -> RunResult:
        """Train the recipe; resume from a checkpoint where there is one."""
        report = ConfirmReport(context)

        def train() -> None:
            recipe = Recipe.from_dict(context.claim.recipe or {})
            report.trajectory = context.objective.trajectory(recipe)
            weights = context.objective.run(
                recipe, context.claim.seed, report, context.should_stop, context.checkpoints
            )
            if context.settings.objective is not None:
                report.samples = SampleMeans(
                    unknown="your own objective reports no values of single samples"
                )
            elif weights is not None and context.owns():
                # They are for the winner's test, which a training of the user's own does not have.
                context.store.keep_confirmed(context.folder, context.claim.number, weights)
                scores = context.objective.score(recipe, weights, "val", context.progress)
                report.score(scores)

        ending, _ = context.attempt(train, report)
        return RunResult(ending, report.result())


class WinnerTestRun:
    """Score the weights of the confirmed winner's runs on the test part of the data."""

    def describe(self, claim: AuxiliaryClaim) -> str:
        """Name a run in a worker's log."""
        return "test of the winner"

    def metric_name(self, metric: str) -> str:
        """Return the name of a metric on the test part: `test_loss` for `val_loss`."""
        return f"test_{metric.removeprefix('val_').removeprefix('train_')}"

    def run(self, context: RunContext) -> RunResult:
        """Score each of the winner's runs."""
        claim, scored = context.claim, _Scores(self.metric_name(context.settings.metric.name))
        runs: Sequence[int] = claim.result["runs"]

        def test() -> None:
            recipe = Recipe.from_dict(claim.recipe or {})
            for run in runs:
                weights = context.store.confirmed(context.folder, run)
                if weights is None:
                    continue
                scores = context.objective.score(recipe, weights, "test", context.progress)
                if scores is not None:
                    scored.add(scores)
            if not scored.scores:
                raise UserError("the weights of the confirmed runs are not in storage.checkpoints")

        ending, _ = context.attempt(test, scored)
        if ending.outcome == Outcome.COMPLETE:
            context.store.drop_confirmed(context.folder, keep=runs)
        samples = [
            {name: means.to_json() for name, means in of_run.items()} for of_run in scored.samples
        ]
        return RunResult(ending, {**claim.result, "scores": scored.scores, "samples": samples})


class ConfirmReport:
    """Takes the evaluations of a run; they are stored in the run's own row."""

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self.trajectory: LrTrajectory | None = None
        """The length of a whole training."""
        self.points: list[dict[str, Any]] = []
        self._earlier: list[dict[str, Any]] = list(context.claim.result.get("curve", []))
        """The evaluations of earlier attempts."""
        self._progressed = 0.0
        """Share of the training that is done."""
        self.remark: str | None = None
        """Why the training has ended before its planned length; None where it has not."""
        self.samples: SampleMeans | None = None
        """The metric on each validation sample; None before the end of the training."""

    def __call__(self, evaluation: Evaluation) -> None:
        """Store an evaluation.

        Raises Stopped, LeaseLost, Diverged, and UserError where the metric is missing.
        """
        self.points.append(self._point(evaluation))
        self._context.report(self.result)
        self.remark = evaluation.early_end
        before, self._progressed = self._progressed, self.points[-1]["progress"] or 0.0
        # A loop of the user's own may go on beyond the end that was planned.
        is_last = before < 1 <= self._progressed
        if not is_last and self.remark is None and self._context.should_stop():
            raise Stopped("stopped after an evaluation")

    @property
    def number(self) -> None:
        """None: a run of the confirmation is no trial."""

    def warn(self, message: str) -> None:
        """Log a warning about the training."""
        _log.warning("trial %d: %s", self._context.claim.trial_number, message)

    def progress(self) -> None:
        """Record that the training goes on."""
        self._context.progress()

    def restore(self, history: Sequence[Evaluation]) -> None:
        """Make the evaluations of a checkpoint the run's only ones so far."""
        self.points = [self._point(evaluation) for evaluation in history]

    def again(self, why: str) -> None:
        """Take what was reported as an earlier attempt's: the training begins again."""
        self.warn(why)
        self._earlier, self.points = self.points, []
        self._progressed, self.remark = 0.0, None

    def rewind(self, epoch: float, step: float = math.inf) -> int:
        """Keep what earlier attempts reported before `epoch` and `step`.

        Returns the index of the next evaluation, from 1.
        """
        if not self.points:
            earlier = self._earlier
            self.points = [
                point for point in earlier if point["epoch"] < epoch and point["step"] < step
            ]
        return len(self.points) + 1

    def score(self, scores: PartScores | None) -> None:
        """Keep the metric on each validation sample, as the final weights score it.

        It is kept only if their mean is about the value of the run: with other weights, such as
        those of another evaluation, the samples would not be those of the value.
        """
        name, value = self._context.settings.metric.name, self.value()
        if scores is None or value is None:
            return
        self.samples = scores.samples_of(name)
        if self.samples.unknown is None and not math.isclose(
            scores.values[name], value, rel_tol=_SAME_WEIGHTS
        ):
            self.samples = SampleMeans(
                scores.count, unknown="the weights of the evaluation that counts are not kept"
            )

    def result(self) -> Result:
        """Return the evaluations so far, and at the end the values on samples, to be stored."""
        known = {} if self.samples is None else {"samples": self.samples.to_json()}
        return {"curve": self.points, **known}

    @property
    def last(self) -> float | None:
        """The latest value; None where there is none."""
        return self.points[-1]["value"] if self.points else None

    def value(self) -> float | None:
        """Return the run's value: its best or last, by `metric.at`, like that of a trial."""
        return self._context.value_of([point["value"] for point in self.points])

    def _point(self, evaluation: Evaluation) -> dict[str, Any]:
        """Return an evaluation as a point of the stored curve, with the share that is done."""
        progress = None if self.trajectory is None else self.trajectory.progress(evaluation)
        point = to_point(replace(evaluation, value=self._context.measured(evaluation)))
        return {**point, "progress": progress}


class _Scores:
    """The scores of the winner's runs; their value is the mean of the metric's counterpart."""

    remark = None

    def __init__(self, name: str) -> None:
        self.scores: list[dict[str, float]] = []
        self.samples: list[dict[str, SampleMeans]] = []
        self._name = name

    def add(self, scores: PartScores) -> None:
        """Add those of one run."""
        self.scores.append(dict(scores.values))
        self.samples.append({name: scores.samples_of(name) for name in scores.values})

    def again(self, why: str) -> None:
        """Drop the scores: the test begins again."""
        _log.warning("test of the winner: %s", why)
        self.scores, self.samples = [], []

    @property
    def last(self) -> float | None:
        """None: an unfinished test has no value."""
        return None

    def value(self) -> float | None:
        """Return the mean over the runs; None where no run has the score."""
        known = [scores[self._name] for scores in self.scores if self._name in scores]
        return sum(known) / len(known) if known else None
