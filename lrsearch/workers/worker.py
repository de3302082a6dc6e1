"""A worker on one study: brings claimed units to their end."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import SQLAlchemyError

from lrsearch.checkpoints.store import Checkpoints, Store
from lrsearch.config.settings import Settings
from lrsearch.errors import LrsearchError
from lrsearch.loggers.catalogue import LoggedTrial, OpenLog, flat
from lrsearch.objective import Objective
from lrsearch.pruning.rules import Pruner
from lrsearch.recipe import Recipe
from lrsearch.samplers import build_sampler
from lrsearch.seeds import derived_seed
from lrsearch.study import tables
from lrsearch.study.claims import Claim, Claims
from lrsearch.study.endings import Outcome
from lrsearch.study.leasing import LeaseLost, Orders
from lrsearch.study.outages import Contact, passes, persist
from lrsearch.study.progress import Progress
from lrsearch.study.queue import Queue
from lrsearch.study.trials import Studies
from lrsearch.training.loop import Diverged, OutOfMemory, Stopped
from lrsearch.workers.lease import Lease
from lrsearch.workers.reporter import Outbox, Pruned, Reporter, logged_values
from lrsearch.workers.stop import Stop

if TYPE_CHECKING:
    import torch
    from optuna.samplers import BaseSampler


class DatabaseRefuses(LrsearchError):
    """The database takes no writes, for a reason that does not pass by itself."""


class Worker:
    """Works on the units of one study."""

    def __init__(
        self,
        settings: Settings,
        objective: Objective,
        pruner: Pruner,
        claims: Claims,
        queue: Queue,
        studies: Studies,
        store: Store,
        contact: Contact,
        stop: Stop,
        open_log: OpenLog | None = None,
    ) -> None:
        self.settings, self.objective, self.pruner = settings, objective, pruner
        self.claims, self.queue, self.studies, self.store = claims, queue, studies, store
        self.contact, self.stop = contact, stop
        self.open_log = open_log

    def run(self, claim: Claim) -> None:
        """Brings one unit to its end, hands it back when told to, or leaves it if it was lost."""
        started = time.perf_counter()
        outbox = Outbox(self.claims, claim)
        lease = Lease(
            lambda: self._beat(outbox),
            self.contact,
            self.claims.terms.lease,
            self.settings.queue.stall_timeout,
        )
        checkpoints = self.store.unit(self._folder, claim.number)
        with lease:
            try:
                outcome, weights = self._train(claim, lease, outbox, checkpoints)
                seconds = time.perf_counter() - started
                self._finish(claim, outbox, outcome, seconds, weights)
            except LeaseLost:
                return
            except Stopped:
                if not lease.lost:
                    self._give_back(claim, outbox)
                return
        checkpoints.clear()

    @property
    def _folder(self) -> str:
        """Of this very study: a later one of the same name has another."""
        return f"{self.settings.study.name}-{self.claims.study_id}"

    def _beat(self, outbox: Outbox) -> Orders:
        orders = outbox.flush()
        timeout = self.settings.study.timeout
        if self.queue.tick() >= (timeout or float("inf")):
            self.queue.stop(f"study.timeout={timeout:g} s is up", hand_back=True)
            return Orders(hand_back=True)
        return orders

    def _train(
        self, claim: Claim, lease: Lease, outbox: Outbox, checkpoints: Checkpoints
    ) -> tuple[Outcome, Mapping[str, torch.Tensor] | None]:
        def should_stop() -> bool:
            lease.progress()
            return self.stop.is_set() or lease.lost or lease.hand_back

        recipe, earlier = self._until_stopped(lambda: self._begin(claim))
        reporter = Reporter(
            self.settings.metric,
            self.claims,
            claim,
            lease,
            outbox,
            self.pruner,
            should_stop,
            earlier,
        )
        reporter.evaluations = self.objective.evaluations(recipe)
        guarded = _WhileOwned(checkpoints, lease)
        with self._logging(claim, recipe, reporter) as ended:
            outcome, weights = self._outcome(recipe, claim, reporter, should_stop, guarded)
            ended.append(outcome)
        return outcome, weights

    def _outcome(
        self,
        recipe: Recipe,
        claim: Claim,
        reporter: Reporter,
        should_stop: Callable[[], bool],
        guarded: Checkpoints,
    ) -> tuple[Outcome, Mapping[str, torch.Tensor] | None]:
        """Trains, and says how it ended."""
        try:
            weights = self.objective.run(recipe, claim.seed, reporter, should_stop, guarded)
        except Pruned:
            return Outcome(tables.PRUNED, reporter.last), None
        except Diverged as error:
            ended = Outcome(tables.DIVERGED, reporter.last, str(error), error.step, error.lr)
        except OutOfMemory as error:
            ended = Outcome(tables.OUT_OF_MEMORY, reporter.last, str(error), error.step, error.lr)
        except (LeaseLost, Stopped):
            raise
        except SQLAlchemyError as error:
            raise DatabaseRefuses(f"the database refuses a write: {error}") from error
        except (Exception, SystemExit):  # noqa: BLE001 - the user's code can raise anything
            ended = Outcome(tables.FAILED, reason=traceback.format_exc())
        else:
            return Outcome(tables.COMPLETE, reporter.value()), weights
        return ended, None

    @contextmanager
    def _logging(self, claim: Claim, recipe: Recipe, reporter: Reporter) -> Iterator[list[Outcome]]:
        """Lets a logger follow the trial, if there is one; it is told the outcome in the list."""
        ended: list[Outcome] = []
        if self.open_log is None:
            yield ended
            return
        log = self.open_log(
            LoggedTrial(
                self.settings.study.name,
                self.claims.study_id,
                claim.trial_number,
                claim.is_new,
                flat(recipe.to_dict()),
            )
        )
        reporter.log = lambda evaluation: log.log(evaluation.step, logged_values(evaluation))
        try:
            yield ended
            for outcome in ended:
                log.end(outcome.outcome, self.settings.metric.name, outcome.value)
        finally:
            log.close()

    def _begin(self, claim: Claim) -> tuple[Recipe, list[tuple[float, float | None]]]:
        """Settles what the trial trains; what earlier attempts have reported."""
        name = self.settings.study.name
        suggestions = self.studies.suggestions(
            name, claim.trial_id, self._sampler(claim), claim.params
        )
        recipe = self.settings.space.suggest(suggestions)
        self.claims.started(
            claim,
            suggestions.chosen,
            recipe.to_dict(),
            self.objective.device_name,
            _columns(recipe, claim.seed),
        )
        return recipe, [] if claim.is_new else self.claims.reported(claim)

    def _sampler(self, claim: Claim) -> BaseSampler:
        """A sampler seeded by the unit, so that a study's trials do not depend on who runs them."""
        sampler, seed = self.settings.sampler, self.settings.study.seed
        unit_seed = derived_seed(seed, "sampler", claim.number)
        return build_sampler(sampler.name, sampler.arguments, seed, unit_seed)

    def _until_stopped(self, action: Callable[[], Any]) -> Any:
        """Repeats what an outage prevents. Raises Stopped when told to stop meanwhile."""
        try:
            return persist(action, self.stop.wait, lambda error: self.contact.failed())
        except Exception as error:
            if passes(error):
                raise Stopped("stopped while the database did not answer") from error
            raise

    def _finish(
        self,
        claim: Claim,
        outbox: Outbox,
        outcome: Outcome,
        seconds: float,
        weights: Mapping[str, torch.Tensor] | None,
    ) -> None:
        def finish() -> None:
            if self.claims.is_finished(claim):
                return  # it was taken, but the answer was lost
            outbox.flush()
            if weights is not None and outcome.value is not None:
                self._keep_best(claim, outcome.value, weights)
            self.claims.finish(claim, outcome, seconds)

        self._until_stopped(finish)
        if outcome.outcome == tables.FAILED:
            self._until_stopped(self.queue.stop_after_failures)

    def _keep_best(self, claim: Claim, value: float, weights: Mapping[str, torch.Tensor]) -> None:
        """Keeps the final weights if the trial is among the best, and drops those it displaces."""
        keep = self.settings.train.keep_best
        if not keep:
            return
        progress = Progress(self.claims.session, self.claims.study_id)
        sign = 1.0 if self.settings.metric.mode == "min" else -1.0
        best = progress.best(keep, self.settings.metric.mode)
        ranked = sorted([*best, (claim.trial_number, value)], key=lambda one: sign * one[1])[:keep]
        numbers = {number for number, _ in ranked}
        if claim.trial_number in numbers:
            self.store.keep_weights(self._folder, claim.trial_number, weights)
            kept = self.store.kept(self._folder)
            self.store.drop_weights(self._folder, [one for one in kept if one not in numbers])

    def _give_back(self, claim: Claim, outbox: Outbox) -> None:
        """Hands the unit back at once; if the database does not answer, its lease runs out."""
        try:
            outbox.flush()
            self.claims.give_back(claim)
        except LeaseLost:
            return
        except Exception as error:
            if not passes(error):
                raise


def _columns(recipe: Recipe, seed: int) -> dict[str, Any]:
    """What the dashboard's table shows of a recipe, whatever was searched and what was given."""
    return {
        "recipe": recipe.describe(),
        "optimizer": recipe.optimizer.name,
        "scheduler": recipe.scheduler.name,
        "peak lr": recipe.lr,
        "batch size": recipe.batch_size,
        "seed": seed,
    }


class _WhileOwned:
    """Checkpoints of a unit that nobody else can have: one that was lost is not written to."""

    def __init__(self, checkpoints: Checkpoints, lease: Lease) -> None:
        self._checkpoints, self._lease = checkpoints, lease
        self.folder = checkpoints.folder
        self.load = checkpoints.load
        self.clear = checkpoints.clear

    def save(self, state: Mapping[str, Any]) -> None:
        """Saves, as long as the lease is sure."""
        if self._lease.is_sure():
            self._checkpoints.save(state)
