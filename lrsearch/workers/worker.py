"""Run the trials that a worker has claimed of one study."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from lrsearch.checkpoints.store import Checkpoints
from lrsearch.evaluation import Evaluation
from lrsearch.loggers import LoggedTrial, OpenLog, TrialLog, build_logger, flat
from lrsearch.queue.balance import FamilyBalance
from lrsearch.queue.endings import Ending
from lrsearch.queue.owners import owner_name
from lrsearch.queue.trial_claims import TrialClaim, TrialClaims
from lrsearch.recipe import Recipe
from lrsearch.seeds import derived_seed
from lrsearch.states import Outcome
from lrsearch.storage.database import Database
from lrsearch.storage.optuna_bridge import Studies
from lrsearch.study.follow_up import follow_up
from lrsearch.study.history import StudyHistory, open_history
from lrsearch.study.progress import Progress
from lrsearch.tuning.forecast import History
from lrsearch.tuning.pruners import build_pruner
from lrsearch.tuning.pruners.rules import Pruner
from lrsearch.tuning.samplers import SamplerInputs, build_sampler
from lrsearch.workers.attempt import Attempts, FencedCheckpoints, bring_to_end
from lrsearch.workers.reporter import Outbox, Reporter, ValuesRefused
from lrsearch.workers.work_log import WorkLog

if TYPE_CHECKING:
    import torch
    from optuna.samplers import BaseSampler


class Worker:
    """Runs claimed trials of one study."""

    def __init__(
        self,
        attempts: Attempts,
        pruner: Pruner,
        claims: TrialClaims,
        studies: Studies,
        open_log: OpenLog | None = None,
    ) -> None:
        self.attempts, self.settings = attempts, attempts.settings
        self.objective, self.pruner = attempts.objective, pruner
        self.parts = self.objective.parts()
        self.claims, self.studies = claims, studies
        self.open_log = open_log

    @classmethod
    def of(cls, attempts: Attempts, database: Database, studies: Studies) -> Worker:
        """The worker of this process for the trials of a study, by the settings of the study."""
        settings = attempts.settings
        claims = TrialClaims(
            database.session,
            attempts.queue.study_id,
            owner_name(),
            follow_up,
            settings.queue,
            FamilyBalance.of(settings),
        )
        pruner = build_pruner(settings.pruner, attempts.objective.parts(), settings.metric.mode)
        return cls(attempts, pruner, claims, studies, build_logger(settings.logger))

    def run(self, claim: TrialClaim) -> None:
        """Run one trial to its end, or hand it back when the worker or the study is stopped.

        A trial whose lease was lost is left to the worker that has it now.
        """
        started = time.perf_counter()
        name, metric = self.settings.study.name, self.settings.metric.name
        log = WorkLog(name, f"trial {claim.trial_number}", metric)
        outbox = Outbox(self.claims, claim)
        lease = self.attempts.lease(outbox.flush, lambda cause: self.claims.died(claim, cause))
        checkpoints = self.attempts.store.trial_slot(self.attempts.folder, claim.number)
        should_stop = self.attempts.should_stop(lease)
        reporter = Reporter(
            self.settings.reported_metric,
            self.claims,
            claim,
            lease,
            outbox,
            self.pruner,
            self._history,
            should_stop,
        )

        def train() -> None:
            self._train(claim, log, reporter, FencedCheckpoints(checkpoints, lease))

        def work() -> None:
            try:
                outcome, _ = self.attempts.run_attempt(train, reporter, lease)
                outcome = dataclasses.replace(
                    outcome, spared_at=reporter.spared_at, warning=reporter.warning
                )
                if reporter.log is not None:
                    reporter.log.end(outcome.outcome, metric, outcome.value)
            finally:
                if reporter.log is not None:
                    reporter.log.close()
            seconds = time.perf_counter() - started
            log.ends(self._finish(claim, outbox, outcome, seconds), seconds)

        def give_back() -> None:
            # Refused values are dropped: the next attempt reports them again, and fails then.
            with contextlib.suppress(ValuesRefused):
                outbox.flush()
            self.claims.give_back(claim)

        bring_to_end(
            log, lease, checkpoints, work, give_back, is_over=lambda: self.claims.is_over(claim)
        )

    def _train(
        self, claim: TrialClaim, log: WorkLog, reporter: Reporter, checkpoints: Checkpoints
    ) -> None:
        """Do the part of an attempt that depends on the trial's recipe or on the user's code."""
        if reporter.is_repeated:
            claim = dataclasses.replace(claim, is_new=False)
        recipe, earlier = self.attempts.until_stopped(lambda: self._begin(claim))
        log.begins(recipe.describe(self.settings.space.searched), claim.attempt)
        reporter.begin(self.objective.trajectory(recipe), self.parts, earlier)
        if reporter.log is None:
            reporter.log = self._open_log(claim, recipe)
        weights = self.objective.run(
            recipe, claim.seed, reporter, reporter.should_stop, checkpoints
        )
        self.attempts.until_stopped(reporter.outbox.flush)
        reporter.outbox.check()
        value = reporter.value()
        if weights is not None and value is not None:
            self.attempts.until_stopped(lambda: self._keep_best(claim, value, weights))

    def _open_log(self, claim: TrialClaim, recipe: Recipe) -> TrialLog | None:
        """Open the logger's log of the trial; None without a logger."""
        if self.open_log is None:
            return None
        return self.open_log(
            LoggedTrial(
                self.settings.study.name,
                self.claims.study_id,
                claim.trial_number,
                claim.is_new,
                flat(recipe.to_dict()),
            )
        )

    def _begin(self, claim: TrialClaim) -> tuple[Recipe, list[Evaluation]]:
        """Suggest the trial's recipe and store it.

        Returns the recipe and the evaluations that earlier attempts reported.
        """
        name = self.settings.study.name
        # Its transactions and those of Optuna's storage take turns with one connection.
        history = StudyHistory(self.claims.session, self.claims.study_id, self.settings.metric.mode)
        suggestions = self.studies.suggestions(
            name, claim.trial_id, self._sampler(claim, history), claim.params
        )
        recipe = self.settings.space.suggest(suggestions)
        self.claims.started(
            claim,
            suggestions.chosen,
            recipe.to_dict(),
            self.objective.device_name,
            _columns(recipe, claim.seed, self.settings.space.searched),
        )
        return recipe, [] if claim.is_new else self.claims.reported(claim)

    def _history(self) -> AbstractContextManager[StudyHistory]:
        """Open the trials of the study as pruners see them."""
        mode = self.settings.metric.mode
        return open_history(self.claims.session, self.claims.study_id, mode)

    def _sampler(self, claim: TrialClaim, history: History) -> BaseSampler:
        """Build a sampler seeded by the trial slot: which worker runs a trial changes nothing."""
        sampler, seed = self.settings.sampler, self.settings.study.seed
        slot_seed = derived_seed(seed, "sampler", claim.number)
        inputs = SamplerInputs(self.settings.space, history, claim.params, seed, slot_seed)
        return build_sampler(sampler, inputs)

    def _finish(self, claim: TrialClaim, outbox: Outbox, outcome: Ending, seconds: float) -> Ending:
        """Write how the trial ended, and return the ending that was written."""

        def write(ended: Ending) -> None:
            if self.claims.is_finished(claim):
                return  # an earlier try was committed, but its answer was lost
            outbox.flush()
            if ended.outcome != Outcome.FAILED:
                outbox.check()
            self.claims.finish(claim, ended, seconds)

        ended = self.attempts.finish(outcome, write)
        if ended.outcome == Outcome.FAILED:
            self.attempts.until_stopped(self.attempts.queue.stop_after_failures)
        return ended

    def _keep_best(
        self, claim: TrialClaim, value: float, weights: Mapping[str, torch.Tensor]
    ) -> None:
        """Keep the weights if the trial is among the best `train.keep_best`.

        Delete the weights of the trials that no longer are.
        """
        keep = self.settings.train.keep_best
        if not keep:
            return
        progress = Progress(self.claims.session, self.claims.study_id)
        sign = 1.0 if self.settings.metric.mode == "min" else -1.0
        best = progress.best(keep, self.settings.metric.mode)
        ranked = sorted([*best, (claim.trial_number, value)], key=lambda trial: sign * trial[1])[
            :keep
        ]
        numbers = {number for number, _ in ranked}
        if claim.trial_number in numbers:
            store, folder = self.attempts.store, self.attempts.folder
            store.keep_weights(folder, claim.trial_number, weights)
            kept = store.kept(folder)
            dropped = [trial for trial in kept if trial not in numbers]
            store.drop_weights(folder, dropped)
            is_kept = claim.trial_number in kept
            where = store.weights(folder, claim.trial_number) if is_kept else None
            self.claims.weights_kept(claim, where, dropped)


def _columns(recipe: Recipe, seed: int, searched: Collection[str]) -> dict[str, Any]:
    """Return the columns of a recipe in the dashboard's table, whether searched or fixed."""
    return {
        "recipe": recipe.describe(searched),
        "optimizer": recipe.optimizer.name,
        "scheduler": recipe.scheduler.name,
        "peak lr": recipe.lr,
        "batch size": recipe.batch_size,
        "seed": seed,
    }
