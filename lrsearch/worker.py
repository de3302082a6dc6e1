"""A worker: claims units of a study, one after the other, and makes a finished trial of each."""

from __future__ import annotations

import gc
import math
import os
import signal
import time
import traceback
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from lrsearch.checkpoints.store import NoCheckpoints
from lrsearch.config.border import RUNTIME, settings_from
from lrsearch.config.settings import MetricSettings, Settings
from lrsearch.errors import UserError
from lrsearch.objective import Objective, build_objective
from lrsearch.pruners import build_pruner
from lrsearch.recipe import Recipe
from lrsearch.samplers import build_sampler
from lrsearch.seeds import derived_seed
from lrsearch.study import tables
from lrsearch.study.database import Database
from lrsearch.study.queue import Outcome, Queue, Unit, owner_name
from lrsearch.study.study import load_row
from lrsearch.study.tables import EpochRow
from lrsearch.study.trials import RunningTrial, State, Studies, Trials
from lrsearch.training.loop import Diverged, Evaluation, OutOfMemory, Stopped

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler


class Pruned(Exception):
    """The pruner ended the trial."""


class Worker:
    """Works on one study until nothing is left to claim or it is told to stop."""

    def __init__(
        self,
        settings: Settings,
        objective: Objective,
        queue: Queue,
        trials: Trials,
        should_stop: Callable[[], bool],
    ) -> None:
        self.settings = settings
        self.objective = objective
        self.queue = queue
        self.trials = trials
        self.should_stop = should_stop
        self.owner = owner_name()

    def work(self) -> None:
        """Returns when there is nothing left to claim, or after `should_stop`."""
        while not self.should_stop():
            unit = self.queue.claim(self.owner)
            if unit is None:
                return
            self.run(unit)

    def run(self, unit: Unit) -> None:
        """Makes one unit's trial and brings it to its end."""
        trial = self._trial_for(unit)
        if trial is None:
            return
        started = time.perf_counter()
        reporter = Reporter(self.settings.metric, self.queue, trial, self.should_stop)
        try:
            ended = self._train(unit, trial, reporter)
        except Stopped:
            self.trials.wait(trial.trial_id)
            self.queue.give_back(unit.unit_id)
            return
        except (Exception, SystemExit):  # noqa: BLE001 - the user's code can raise anything
            ended = Outcome(tables.FAILED, reason=traceback.format_exc())
        self._finish(unit, trial, ended, time.perf_counter() - started)

    def _trial_for(self, unit: Unit) -> RunningTrial | None:
        """The unit's trial, new or taken over; None when the unit turns out to be done."""
        sampler = self._sampler(unit)
        if unit.attempts == 1 and unit.trial_id is None:
            return self.trials.start(unit.number, unit.params, sampler)
        trial_id = unit.trial_id or self.trials.find(unit.number)
        if trial_id is None:
            return self.trials.start(unit.number, unit.params, sampler)
        trial = self.trials.take_over(trial_id, sampler)
        if trial is None:
            # Its worker died between telling Optuna and telling the queue.
            state, value, reason = self.trials.ending(trial_id)
            self.queue.finish(unit.unit_id, Outcome(state, value, reason))
        return trial

    def _sampler(self, unit: Unit) -> BaseSampler:
        """A sampler seeded by the unit, so that a study's trials do not depend on who runs them."""
        sampler, seed = self.settings.sampler, self.settings.study.seed
        unit_seed = derived_seed(seed, "sampler", unit.number)
        return build_sampler(sampler.name, sampler.arguments, seed, unit_seed)

    def _train(self, unit: Unit, trial: RunningTrial, reporter: Reporter) -> Outcome:
        recipe = self.settings.space.suggest(trial.suggester)
        self.queue.started(
            unit, trial.trial_id, trial.number, recipe.to_dict(), self.objective.device_name
        )
        trial.annotate(_columns(recipe, unit))
        reporter.evaluations = self.objective.evaluations(recipe)
        try:
            self.objective.run(recipe, unit.seed, reporter, self.should_stop, NoCheckpoints())
        except Pruned:
            return Outcome(tables.PRUNED, reporter.last)
        except Diverged as error:
            return Outcome(tables.DIVERGED, reporter.last, str(error), step=error.step, lr=error.lr)
        except OutOfMemory as error:
            return Outcome(
                tables.OUT_OF_MEMORY, reporter.last, str(error), step=error.step, lr=error.lr
            )
        return Outcome(tables.COMPLETE, reporter.value())

    def _finish(self, unit: Unit, trial: RunningTrial, ended: Outcome, seconds: float) -> None:
        state: State = "pruned"
        if ended.outcome in (tables.COMPLETE, tables.FAILED):
            state = "complete" if ended.outcome == tables.COMPLETE else "failed"
        attributes = {"status": ended.outcome, "seconds": round(seconds, 3)}
        if ended.reason is not None:
            attributes["reason"] = ended.reason
        trial.annotate(attributes)
        feasible = ended.outcome in (tables.COMPLETE, tables.PRUNED)
        trial.finish(state, ended.value, feasible)
        self.queue.finish(unit.unit_id, ended, seconds)
        if ended.outcome == tables.FAILED:
            self.queue.stop_after_failures()


def _columns(recipe: Recipe, unit: Unit) -> dict[str, Any]:
    """A trial's columns in the dashboard."""
    return {"recipe": recipe.describe(), "lr": recipe.lr, "seed": unit.seed}


class Reporter:
    """Takes a trial's evaluations: writes them down, and ends the trial when it is pruned."""

    def __init__(
        self,
        metric: MetricSettings,
        queue: Queue,
        trial: RunningTrial,
        should_stop: Callable[[], bool],
    ) -> None:
        self.should_stop = should_stop
        self.metric = metric
        self.queue = queue
        self.trial = trial
        self.evaluations: int | None = None
        """How many a whole trial has; the last one is never pruned."""
        self.last: float | None = None
        self.best: float | None = None

    def __call__(self, evaluation: Evaluation) -> None:
        value = evaluation.values.get(self.metric.name)
        if value is None:
            raise UserError(
                f"metric.name: {self.metric.name!r} was not reported; "
                f"reported: {', '.join(evaluation.values)}"
            )
        if not math.isfinite(value):
            raise Diverged(evaluation.step, evaluation.lr_end[0], value)
        self.queue.record(epoch_row(self.trial.trial_id, evaluation))
        self.trial.report(value, evaluation.index)
        self.last = value
        better = min if self.metric.mode == "min" else max
        self.best = value if self.best is None else better(self.best, value)
        is_last = self.evaluations is not None and evaluation.index >= self.evaluations
        if is_last:
            return
        if self.should_stop():
            raise Stopped("stopped after an evaluation")
        if self.trial.should_prune():
            raise Pruned

    def restore(self, history: Sequence[Evaluation]) -> None:
        """Nothing has been before."""

    def value(self) -> float | None:
        """The trial's value: that of its best or last evaluation."""
        return self.best if self.metric.at == "best" else self.last


def epoch_row(trial_id: int, evaluation: Evaluation) -> EpochRow:
    """An evaluation as a row of `lrsearch_epochs`."""
    values = dict(evaluation.values)
    row = EpochRow(
        trial_id=trial_id,
        step=evaluation.step,
        epoch=evaluation.epoch,
        train_loss=values.pop("train_loss", None),
        val_loss=values.pop("val_loss", None),
        lr_start=evaluation.lr_start[0],
        lr_end=evaluation.lr_end[0],
        grad_norm=evaluation.grad_norm,
        seconds=evaluation.seconds,
    )
    # JSON has no word for numbers that are not finite.
    further: dict[str, Any] = {
        name: value if math.isfinite(value) else None for name, value in values.items()
    }
    if evaluation.clipped is not None:
        further["clipped"] = evaluation.clipped
    for group in range(1, len(evaluation.lr_end)):
        further[f"lr_start_{group}"] = evaluation.lr_start[group]
        further[f"lr_end_{group}"] = evaluation.lr_end[group]
    row.metrics = further
    return row


def run_worker(name: str, url: str) -> None:
    """A worker process: serves the study `name` until nothing is left or SIGTERM comes.

    Raises UserError when the study cannot be served here: its data differ, its code is missing.
    """
    parent = os.getppid()
    stopping = False

    def stop(*_: object) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the parent, which says when
    database, studies = Database(url), Studies(url)
    row = load_row(database, name)
    settings = settings_from({**row.config, **RUNTIME, "storage": {"url": url}})
    objective = build_objective(settings, row.record["data"])
    pruner = build_pruner(
        settings.pruner.name, settings.pruner.arguments, objective.most_evaluations()
    )
    worker = Worker(
        settings,
        objective,
        Queue(database.session, row.study_id),
        studies.trials(name, pruner),
        # An orphan stops, too: nobody would see what it does.
        should_stop=lambda: stopping or os.getppid() != parent,
    )
    # What is loaded stays: the garbage collector need not look through it during training.
    gc.collect()
    gc.freeze()
    worker.work()
    studies.close()
    database.close()
