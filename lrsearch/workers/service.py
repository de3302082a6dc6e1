"""A worker process: serves the studies of a database by priority, then by age (oldest first)."""

from __future__ import annotations

import gc
import logging
import math
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass

from lrsearch.checkpoints.store import Store
from lrsearch.config.load import stored_settings
from lrsearch.config.storage import command_on
from lrsearch.errors import LrsearchError
from lrsearch.objectives.build import build_objective
from lrsearch.queue import jobs
from lrsearch.queue.auxiliary_claims import AuxiliaryClaims
from lrsearch.queue.owners import host_name, owner_name
from lrsearch.queue.queue import Queue
from lrsearch.settings import QueueSettings
from lrsearch.states import RunKind, StudyState, WorkState
from lrsearch.storage.database import Database
from lrsearch.storage.optuna_bridge import open_database
from lrsearch.storage.outages import Contact, Waits, passes, refusals_in_words
from lrsearch.storage.tables import StudyRow
from lrsearch.study.follow_up import follow_up
from lrsearch.study.index import StudyIndex, Waiting
from lrsearch.study.study import find_row, load_row
from lrsearch.text.redaction import redacted
from lrsearch.text.shell import name_word
from lrsearch.workers.assignment import Assignment
from lrsearch.workers.attempt import Attempts
from lrsearch.workers.auxiliary_worker import AuxiliaryWorker
from lrsearch.workers.exit_codes import ExitCode
from lrsearch.workers.locations import Locations, logs_of
from lrsearch.workers.patience import Patience, default_patience, first_contact
from lrsearch.workers.stop import Stop
from lrsearch.workers.surroundings import signals_kept
from lrsearch.workers.worker import Worker

IDLE_WAIT = 1.0
"""Longest time in seconds between two searches for work while there is none."""
RETRY_REFUSED = 600.0
"""Seconds after which a study that this machine could not serve is tried again."""
_JOB_WRITTEN = 60.0
"""Seconds within which what has submitted the job of this worker writes that into the database."""

_log = logging.getLogger(__name__)


class Service:
    """Claims and runs work until it is stopped, or until its assignment has ended."""

    def __init__(
        self,
        locations: Locations,
        assignment: Assignment,
        stop: Stop,
        patience: Patience | None = None,
    ) -> None:
        """Open the database. Raises UserError where a study of the assignment is not there."""
        self._locations, self._assignment, self._stop = locations, assignment, stop
        self._studies, self._database = open_database(locations.url)
        self._index = StudyIndex(self._database.session)
        self._contact = Contact()
        self._patience = patience or Patience(locations.url, default_patience())
        self._loaded: tuple[Waiting, _Workers] | None = None
        self._refused: dict[tuple[int, int], _Refusal] = {}
        """Refusals by the id and `runs` of a study."""
        self._job = _Job(self._database, os.environ.get(jobs.VARIABLE))
        for name in assignment.sweeps:
            load_row(self._database, name)

    def work(self) -> ExitCode:
        """Claim and run work until the end; return how this worker has ended.

        Raises DatabaseRefuses where the database does not let it work.
        """
        waits, is_idle = Waits(), False
        served = ", ".join(self._assignment.sweeps) or "all studies"
        _log.info("serving %s of %s", served, redacted(self._locations.url))
        while not self._stop.is_set():
            try:
                with refusals_in_words():
                    waiting = self._index.waiting(self._assignment.sweeps)
                    self._job.begin(waiting)
                    worked = any(self._work_on(study) for study in waiting)
                    left = ExitCode.HANDED_BACK if worked else self._left(waiting)
                    is_over = self._assignment.until_empty and left != ExitCode.HANDED_BACK
                    if is_over or not (worked or is_idle):
                        state = _ENDS[left] if is_over else "waiting for work"
                        _log.info("; ".join([state, *self._reasons_not_served(waiting)]))
                    if is_over:
                        return left
            except Exception as error:
                if not passes(error):
                    raise
                self._contact.failed()
                self._patience.failed(error)
                self._stop.wait(waits.next())
                continue
            self._patience.answered()
            self._contact.reached(self._gap())
            if worked:
                waits, is_idle = Waits(), False
                continue
            is_idle = True
            self._stop.wait(min(waits.next(), IDLE_WAIT))
        _log.info("told to stop")
        try:
            with refusals_in_words():
                return self._left(self._index.waiting(self._assignment.sweeps))
        except Exception as error:
            if not passes(error):
                raise
            return ExitCode.HANDED_BACK

    def close(self) -> None:
        """Close all connections to the database."""
        gc.unfreeze()  # some extensions complain about objects that are left at the exit
        self._studies.close()

    def _reasons_not_served(self, waiting: list[Waiting]) -> list[str]:
        """Return a sentence for each unfinished study that this worker does not serve."""
        refusals = {study.study_id: self._refusal(study) for study in waiting}
        reasons = []
        for study in self._index.statuses():
            if not self._assignment.serves(study.name) or study.shown_state == WorkState.DONE:
                continue
            if study.state != StudyState.OPEN:
                again = command_on(self._locations.url, "resume", name_word(study.name))
                reasons.append(f"{study.name} is {study.state}; to go on: {again}")
            elif refusal := refusals.get(study.study_id):
                reasons.append(f"{study.name} cannot be served on this machine: {refusal.reason}")
        return reasons

    def _left(self, waiting: list[Waiting]) -> ExitCode:
        """Return the exit code that says what is left of the studies that wait for workers."""
        if not waiting:
            return ExitCode.DONE
        if all(self._refusal(study) for study in waiting):
            return ExitCode.REFUSED
        return ExitCode.HANDED_BACK

    def _gap(self) -> float:
        """Return the seconds without contact after which others may have taken over our work."""
        return QueueSettings().lease if self._loaded is None else self._loaded[1].lease

    def _work_on(self, study: Waiting) -> bool:
        """Run one trial or auxiliary run of a study; return False when none can be claimed."""
        if self._refusal(study):
            return False
        workers = self._load(study)
        if workers is None:
            return False
        return workers.work(take_over=self._contact.lasted(workers.lease))

    def _refusal(self, study: Waiting) -> _Refusal | None:
        """Return why this machine cannot serve a study; None where it can, or is to try again."""
        refusal = self._refused.get((study.study_id, study.runs))
        return refusal if refusal is not None and time.monotonic() < refusal.until else None

    def _load(self, study: Waiting) -> _Workers | None:
        """Return the workers for a study.

        None, with the reason recorded, where this machine cannot serve it.
        """
        if self._loaded is not None and self._loaded[0].same_as(study):
            return self._loaded[1]
        if self._loaded is not None:
            self._loaded = None  # only one study at a time takes memory
            gc.unfreeze()
        row = find_row(self._database, study.study_id)
        if row is None:
            return None  # deleted since it was listed
        try:
            with signals_kept():
                workers = self._build(row)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt) and self._stop.is_interruptible:
                raise
            reason = _message_of(error)
            _log.warning("the study %s is left alone: %s", study.name, reason)
            self._index.refuse(study.study_id, host_name(), reason)
            until = time.monotonic() + RETRY_REFUSED
            self._refused[study.study_id, study.runs] = _Refusal(reason, until)
            return None
        self._index.accept(study.study_id, host_name())
        self._loaded = (study, workers)
        self._stop.alive(math.inf)  # it has started; when training it reports by its stall watch
        _log.info("%s: %s", study.name, workers.device)
        # These objects live on: spare the garbage collector a look at them during training.
        gc.collect()
        gc.freeze()
        return workers

    def _build(self, row: StudyRow) -> _Workers:
        """Build the workers of a study. Runs the user's code, so that anything may be raised."""
        settings = stored_settings(row.config, data=self._locations.data)
        self._patience.seconds = settings.queue.patience
        objective = build_objective(
            settings, row.record["data"], logs=logs_of(self._locations.outputs, row.name)
        )
        session, study_id, me = self._database.session, row.study_id, owner_name()
        store = Store(self._locations.checkpoints or row.record["checkpoints"])
        queue = Queue(session, study_id)
        attempts = Attempts(settings, objective, queue, store, self._contact, self._stop)
        auxiliary = AuxiliaryClaims(session, study_id, me, follow_up, settings.queue)
        return _Workers(
            Worker.of(attempts, self._database, self._studies),
            AuxiliaryWorker(attempts, auxiliary),
        )


_ENDS = {
    ExitCode.DONE: "nothing is left to do",
    ExitCode.REFUSED: "nothing is left that this machine can do",
}
"""What the log says of a worker that ends by itself."""


@dataclass(frozen=True)
class _Refusal:
    """Why this machine cannot serve a study."""

    reason: str
    until: float
    """The monotonic time at which the study is tried again."""


class _Job:
    """The job of a cluster in which this worker runs, if any."""

    def __init__(self, database: Database, name: str | None) -> None:
        """`name` is that of the environment variable; None outside of a job."""
        self._database = database
        self._name = name
        self._deadline = time.monotonic() + _JOB_WRITTEN

    def begin(self, studies: Iterable[Waiting]) -> None:
        """Write once which worker runs in the job, with the study for which it was submitted."""
        if self._name is None or time.monotonic() > self._deadline:
            return
        for study in studies:
            session, me = self._database.session, owner_name()
            if jobs.begun(session, study.study_id, self._name, me, host_name()):
                self._name = None
                return


def _message_of(error: BaseException) -> str:
    """Return an error's message, or its repr where it is not one of lrsearch's."""
    if isinstance(error, LrsearchError):
        return str(error)
    try:
        return repr(error)
    except BaseException:  # noqa: BLE001 - an exception's own methods can raise anything
        return type(error).__qualname__


@dataclass(frozen=True)
class _Workers:
    """Serve one study: its range test, if it has one, then trials, then other auxiliary runs."""

    trials: Worker
    auxiliary_runs: AuxiliaryWorker

    @property
    def lease(self) -> float:
        """Length of a lease in seconds."""
        return self.trials.claims.terms.lease

    @property
    def device(self) -> str:
        """Name of the device that trains."""
        return self.trials.objective.device_name

    def work(self, take_over: bool) -> bool:
        """Run one trial or auxiliary run to its end; return False when there is none."""
        if self.trials.settings.space.to_find:
            # No recipe can be suggested before the ranges are found; then the study is reloaded.
            range_test = self.auxiliary_runs.claims.claim(take_over, RunKind.RANGE_TEST)
            if range_test is not None:
                self.auxiliary_runs.run(range_test)
            return range_test is not None
        if (claim := self.trials.claims.claim(take_over)) is not None:
            self.trials.run(claim)
            return True
        if (run := self.auxiliary_runs.claims.claim(take_over)) is not None:
            self.auxiliary_runs.run(run)
            return True
        return False


def serve(locations: Locations, assignment: Assignment, stop: Stop) -> ExitCode:
    """Serve studies until it is stopped, or the assignment has ended; return how it ended.

    Raises UserError where the database does not let this process in, or lacks a study of the
    assignment, and DatabaseSilent where it does not answer for too long.
    """
    patience = Patience(locations.url, default_patience())
    service = first_contact(
        lambda: Service(locations, assignment, stop, patience),
        locations.url,
        patience,
        stop,
    )
    if service is None:
        return ExitCode.HANDED_BACK
    try:
        return service.work()
    finally:
        service.close()
