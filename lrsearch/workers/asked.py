"""Ask and tell: trials of a study for a training that this process runs by itself.

Each trial that was asked for has a thread in which its worker runs, as for any other trial: with
its lease, its reports and its ending. Only the training is elsewhere: the worker's objective gives
the trial to whoever has asked, and waits until it is told how it ended.
"""

from __future__ import annotations

import atexit
import contextlib
import threading
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from lrsearch.checkpoints.store import Checkpoints, Store
from lrsearch.config.load import stored_settings
from lrsearch.errors import UserError
from lrsearch.objectives.base import Report
from lrsearch.objectives.function import OwnObjective
from lrsearch.objectives.trial import Trial
from lrsearch.queue.endings import Endings
from lrsearch.queue.owners import is_dead
from lrsearch.queue.queue import Queue
from lrsearch.queue.trial_claims import TrialClaim
from lrsearch.recipe import Recipe
from lrsearch.settings import Settings
from lrsearch.storage.database import open_existing
from lrsearch.storage.optuna_bridge import open_database
from lrsearch.storage.outages import Contact
from lrsearch.storage.tables import StudyRow
from lrsearch.study.follow_up import follow_up
from lrsearch.study.provenance import refuse_other_versions
from lrsearch.study.study import load_row
from lrsearch.training.devices import device_label, resolve_device
from lrsearch.training.loop import Stopped
from lrsearch.workers.abilities import Abilities
from lrsearch.workers.attempt import Attempts
from lrsearch.workers.locations import Locations
from lrsearch.workers.stop import Stop
from lrsearch.workers.worker import Worker

_AT_EXIT = 10.0
"""Longest time in seconds that the end of the process waits for a trial to be handed back."""
_open: set[_Handover] = set()
"""The trials of this process that were asked for and not told yet."""


class AskedTrial(Trial):
    """A trial that was asked for; `tell` ends it.

    Its lease is renewed in the background until then. It is handed back, for another worker, where
    it is dropped or the process ends before it is told.
    """

    def __init__(self, handover: _Handover, given: _Given, settings: Settings) -> None:
        super().__init__(
            given.recipe,
            given.report,
            seed=given.seed,
            device=handover.device,
            epochs=settings.train.epochs,
            steps=settings.train.steps,
            checkpoint_dir=given.checkpoint_dir,
            should_stop=given.should_stop,
        )
        self._handover, self._metric = handover, settings.metric.name
        weakref.finalize(self, handover.drop).atexit = False  # `_give_back_all` does that

    def tell(self, value: float | None = None, *, error: BaseException | None = None) -> None:
        """End the trial, and store how it ended.

        Its value is its best or last report, as `metric.at` says. `value` is the metric of a
        training that has reported nothing. `error` is what has ended the training early: it counts
        as it would in a function (out of memory is infeasible, others fail the trial). A trial
        that `report` has ended by TrialPruned is stored as pruned; one whose `report` has raised
        Stopped is handed back.

        Raises UserError if the trial has been told, has reported nothing and gets no value, or gets
        a value beside its reports; nothing is stored then.
        """
        if self._handover.is_told:
            raise UserError(f"tell: trial {self.number} has been told already")
        if value is not None and self.reported:
            raise UserError(
                f"tell: trial {self.number} has reported {self._metric}, so that its value is "
                f"known: tell it without a value"
            )
        if value is not None and self._ended is None:
            try:
                reported: dict[str, Any] = {self._metric: float(value)}
            except (TypeError, ValueError) as problem:
                raise UserError(f"tell: the value must be one number: {problem}") from None
            epoch = self.epochs if self.steps is None else None
            with contextlib.suppress(BaseException):  # it is raised again below
                self.report(epoch, step=self.steps, **reported)
        if self._ended is None and error is None and not self.reported:
            raise UserError(
                f"tell: trial {self.number} has reported nothing: report an evaluation, or tell "
                f"its value"
            )
        ended = error
        try:
            if error is None:
                self.returned()
            else:
                self.raise_again(unless=error)
        except BaseException as raised:  # noqa: BLE001 - the worker raises it
            ended = raised
        self._ended = UserError(f"report: trial {self.number} has been told how it ended")
        self._handover.tell(ended, self.weights)


class Asks:
    """Claims trials of one study for trainings of this process."""

    def __init__(self, name: str, locations: Locations) -> None:
        """Open the study. Raises UserError where there is none of this name."""
        open_existing(locations.url).close()
        self._name, self._locations = name, locations
        self._studies, self._database = open_database(locations.url)
        self._contact = Contact()
        row = load_row(self._database, name)
        settings = stored_settings(row.config)
        if settings.objective is None:
            raise UserError(
                f"ask: {name} is trained by lrsearch's own loop: make a study for your own with "
                f"lrsearch.create_study"
            )
        endings = Endings(row.study_id, settings.queue.max_attempts, follow_up)
        endings.reclaim_dead(self._database.session, is_dead)

    def ask(self) -> AskedTrial | None:
        """Claim the next trial; None where nothing is left, or the study is paused or stopped.

        Raises UserError where this process may not work on the study: it has other versions, or
        lacks what the study needs.
        """
        row = load_row(self._database, self._name)
        if lack := Abilities.of_this_process(()).lack(row.needs):
            raise UserError(f"ask: this process cannot serve {self._name}: {lack}")
        refuse_other_versions(row, row.allow_versions, self._database.url)
        settings = stored_settings(row.config)
        handover = _Handover(settings)
        worker = Worker.of(self._attempts(row, settings, handover), self._database, self._studies)
        claim = worker.claims.claim(self._contact.lasted(settings.queue.lease))
        self._contact.reached(settings.queue.lease)
        if claim is None:
            return None
        given = handover.begin(worker, claim)
        return AskedTrial(handover, given, settings)

    def _attempts(self, row: StudyRow, settings: Settings, handover: _Handover) -> Attempts:
        store = Store(self._locations.checkpoints or row.record["checkpoints"])
        queue = Queue(self._database.session, row.study_id)
        stop = Stop(handover.dropped.is_set, handover.dropped.wait, owns_process=False)
        # Trainings go on beside each other and beside other code of the user's, which may change
        # process-wide settings: nothing is restored.
        return Attempts(
            settings, handover, queue, store, self._contact, stop, contextlib.nullcontext
        )


@dataclass(frozen=True)
class _Given:
    """What the worker gives to whoever trains the trial."""

    recipe: Recipe
    seed: int
    report: Report
    should_stop: Callable[[], bool]
    checkpoint_dir: str


class _Handover(OwnObjective):
    """The objective of one trial that was asked for: it waits until it is told."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.device = resolve_device(settings.train.device)
        self.device_name = device_label(self.device)
        self.dropped = threading.Event()
        """Set where nobody trains the trial any more."""
        self._begun, self._told = threading.Event(), threading.Event()
        self._given: _Given | None = None
        self._error: BaseException | None = None
        self._weights: Mapping[str, torch.Tensor] | None = None
        self._failure: BaseException | None = None
        """What the worker's thread has raised."""
        self._thread: threading.Thread | None = None

    @property
    def is_told(self) -> bool:
        """Whether the training has ended."""
        return self._told.is_set()

    def begin(self, worker: Worker, claim: TrialClaim) -> _Given:
        """Start the worker's thread; return what it gives to the training.

        Raises what the worker raises before the training begins.
        """

        def work() -> None:
            try:
                worker.run(claim)
            except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
                self._failure = error
            finally:
                self._begun.set()
                _open.discard(self)

        name = f"trial {claim.trial_number}"
        self._thread = threading.Thread(target=work, name=name, daemon=True)
        _open.add(self)
        self._thread.start()
        self._begun.wait()
        given, self._given = self._given, None
        if given is None:
            self._thread.join()
            raise self._failure or UserError(
                f"ask: trial {claim.trial_number} has ended before it could begin: "
                f"study.trials() says why"
            )
        return given

    def run(
        self,
        recipe: Recipe,
        seed: int,
        report: Report,
        should_stop: Callable[[], bool],
        checkpoints: Checkpoints,
    ) -> Mapping[str, torch.Tensor] | None:
        self._given = _Given(recipe, seed, report, should_stop, checkpoints.folder)
        del report, should_stop
        self._begun.set()
        self._told.wait()
        error, self._error = self._error, None
        try:
            if error is not None:
                raise error
        finally:
            del error  # a reference cycle through the traceback would keep the training's memory
        return self._weights

    def tell(self, error: BaseException | None, weights: Mapping[str, torch.Tensor] | None) -> None:
        """End the training, and wait until that is stored. Raises what the worker raises."""
        self._error, self._weights = error, weights
        self._told.set()
        assert self._thread is not None
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def drop(self) -> None:
        """Have the trial handed back, unless it was told; this does not wait."""
        if not self._told.is_set():
            self.dropped.set()
            self._error = Stopped("the trial was not told")
            self._told.set()

    def join(self, seconds: float) -> None:
        """Wait for the end of the worker's thread."""
        if self._thread is not None:
            self._thread.join(seconds)


@atexit.register
def _give_back_all() -> None:
    """Hand all trials back that were not told when the process ends."""
    handovers = list(_open)
    for handover in handovers:
        handover.drop()
    for handover in handovers:
        handover.join(_AT_EXIT)
