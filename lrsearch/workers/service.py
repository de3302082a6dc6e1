"""A worker process: serves the studies of a database by priority, then in fair shares."""

from __future__ import annotations

import gc
import logging
import math
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from lrsearch.checkpoints.store import Store
from lrsearch.config.load import stored_settings
from lrsearch.config.storage import command_on
from lrsearch.errors import LrsearchError
from lrsearch.objectives.build import build_objective
from lrsearch.queue import jobs
from lrsearch.queue.auxiliary_claims import AuxiliaryClaims
from lrsearch.queue.owners import host_name, owner_name
from lrsearch.queue.queue import Queue
from lrsearch.queue.shares import in_turn, lacks_workers
from lrsearch.settings import QueueSettings
from lrsearch.states import StudyState, WorkState
from lrsearch.storage.database import Database
from lrsearch.storage.optuna_bridge import open_database
from lrsearch.storage.outages import Contact, Waits, passes, refusals_in_words
from lrsearch.storage.tables import StudyRow
from lrsearch.study.claimable import Claimable, claimable
from lrsearch.study.follow_up import follow_up
from lrsearch.study.index import StudyIndex, Waiting
from lrsearch.study.provenance import refuse_other_versions
from lrsearch.study.study import find_row, load_row
from lrsearch.text.redaction import redacted
from lrsearch.text.shell import name_word
from lrsearch.training.memory import free_unused
from lrsearch.workers.abilities import Abilities
from lrsearch.workers.assignment import Assignment
from lrsearch.workers.attempt import Attempts
from lrsearch.workers.auxiliary_worker import AuxiliaryWorker
from lrsearch.workers.cards import Cards
from lrsearch.workers.exit_codes import ExitCode
from lrsearch.workers.loaded import LoadedStudies, LoadedStudy
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
        self._loaded = LoadedStudies()
        self._shortest_lease = QueueSettings().lease
        """Of the studies that wait for workers, in seconds."""
        self._takes_over: dict[int, bool] = {}
        """Whether work of a study whose lease has run out may be taken over, by the study's id."""
        self._abilities = Abilities.of_this_process(assignment.labels)
        self._refused: dict[tuple[int, int], _Refusal] = {}
        """Refusals by the id and `runs` of a study."""
        self._job = _Job(self._database, os.environ.get(jobs.VARIABLE))
        for name in assignment.sweeps:
            load_row(self._database, name)

    def work(self) -> ExitCode:
        """Claim and run work until the end; return how this worker has ended.

        Raises DatabaseRefuses where the database does not let it work.
        """
        waits, idle_since = Waits(), None
        served = ", ".join(self._assignment.sweeps) or "all studies"
        _log.info("serving %s of %s", served, redacted(self._locations.url))
        while not self._stop.is_set():
            try:
                with refusals_in_words():
                    waiting = self._index.waiting(self._assignment.sweeps)
                    self._job.begin(waiting)
                    offers = self._offers(waiting)
                    turns = self._turns(waiting, offers)
                    worked = any(self._work_on(study) for study in turns)
                    if not worked:
                        if begins := idle_since is None:
                            free_unused()  # for neighbours on the GPU
                        idle_since = idle_since or time.monotonic()
                        idle = time.monotonic() - idle_since
                        end = self._end(waiting, offers, idle)
                        if end is not None or begins:
                            state = "waiting for work" if end is None else end.reason
                            _log.info("; ".join([state, *self._reasons_not_served(waiting)]))
                        if end is not None:
                            return end.code
            except Exception as error:
                if not passes(error):
                    raise
                self._contact.failed()
                self._patience.failed(error)
                self._stop.wait(waits.next())
                idle_since = None
                continue
            self._patience.answered()
            self._contact.reached(self._shortest_lease)
            if worked:
                self._stop.worked()
                waits, idle_since = Waits(), None
                continue
            self._stop.alive(math.inf)
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
        """Return a sentence for each unfinished study that this worker does not serve.

        Those that it cannot serve come first: they are why a worker ends with work left.
        """
        refusals = {study.study_id: self._refusal(study) for study in waiting}
        reasons, closed = [], []
        for study in self._index.statuses():
            if not self._assignment.serves(study.name) or study.shown_state == WorkState.DONE:
                continue
            if study.state != StudyState.OPEN:
                again = command_on(self._locations.url, "resume", name_word(study.name))
                closed.append(f"{study.name} is {study.state}; to go on: {again}")
            elif refusal := refusals.get(study.study_id):
                reasons.append(f"{study.name} cannot be served on this machine: {refusal.reason}")
        return reasons + closed

    def _end(
        self, waiting: list[Waiting], offers: dict[int, Claimable], idle: float
    ) -> _End | None:
        """Return how this worker ends, which found no work for `idle` seconds; None if it waits."""
        code, given = self._left(waiting), self._assignment
        if given.until_empty and code != ExitCode.HANDED_BACK:
            return _End(code, _NOTHING_LEFT[code])
        if given.idle_timeout is not None:
            if idle < given.idle_timeout:
                return None
            is_refused = code == ExitCode.REFUSED
            return _End(ExitCode.REFUSED if is_refused else ExitCode.DONE, f"idle for {idle:.0f} s")
        if not (given.until_empty and self._job.is_one):
            return None
        served = [study.study_id for study in waiting if not self._refusal(study)]
        if all(_are_enough_at(offers[study_id]) for study_id in served if study_id in offers):
            return _End(ExitCode.DONE, "nothing is open, and other workers do the rest")
        return None

    def _left(self, waiting: list[Waiting]) -> ExitCode:
        """Return the exit code that says what is left of the studies that wait for workers."""
        if not waiting:
            return ExitCode.DONE
        if all(self._refusal(study) for study in waiting):
            return ExitCode.REFUSED
        return ExitCode.HANDED_BACK

    def _offers(self, waiting: list[Waiting]) -> dict[int, Claimable]:
        """Return what the studies that wait have for this worker, by id."""
        offers = claimable(self._database.session, [study.study_id for study in waiting])
        # After that long without contact others may have taken over work.
        leases = [offer.lease for offer in offers.values()]
        self._shortest_lease = min(leases, default=QueueSettings().lease)
        self._takes_over = {
            study_id: self._contact.lasted(offer.lease) for study_id, offer in offers.items()
        }
        return offers

    def _turns(self, waiting: list[Waiting], offers: dict[int, Claimable]) -> list[Waiting]:
        """Return the studies that this worker can serve and that have work for it, in turn."""
        claimable_ids = {
            study_id
            for study_id, offer in offers.items()
            if offer.is_open or (offer.is_expired and self._takes_over[study_id])
        }
        return in_turn(
            study
            for study in waiting
            if study.study_id in claimable_ids and not self._refusal(study)
        )

    def _work_on(self, study: Waiting) -> bool:
        """Run one trial or auxiliary run of a study; return False when none is claimed."""
        kept = self._loaded.get(study)
        loaded = self._load(study) if kept is None else kept
        if loaded is None or (kept is None and not self._is_next(study)):
            return False
        return loaded.work(self._takes_over.get(study.study_id, False))

    def _is_next(self, study: Waiting) -> bool:
        """Return whether a study still lacks workers: others may have come while it was loaded."""
        waiting = self._index.waiting(self._assignment.sweeps)
        turns = self._turns(waiting, self._offers(waiting))
        return lacks_workers(study.study_id, turns)

    def _refusal(self, study: Waiting) -> _Refusal | None:
        """Return why this worker cannot serve a study; None where it can, or is to try again."""
        if lack := self._abilities.lack(study.needs):
            return _Refusal(lack, math.inf)
        refusal = self._refused.get((study.study_id, study.runs))
        return refusal if refusal is not None and time.monotonic() < refusal.until else None

    def _load(self, study: Waiting) -> LoadedStudy | None:
        """Load a study and return it; None where this machine cannot serve it.

        The reason is then in the database.
        """
        self._loaded.make_room(study)
        row = find_row(self._database, study.study_id)
        if row is None:
            return None  # deleted since it was listed
        try:
            with signals_kept():
                loaded = self._build(row)
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
        self._loaded.add(study, loaded)
        self._stop.alive(math.inf)  # it has started; when training it reports by its stall watch
        _log.info("%s: %s", study.name, loaded.device)
        return loaded

    def _build(self, row: StudyRow) -> LoadedStudy:
        """Load a study. Runs the user's code, so that anything may be raised."""
        refuse_other_versions(row, row.allow_versions, self._locations.url)
        settings = stored_settings(row.config, data=self._locations.data)
        self._patience.seconds = settings.queue.patience
        objective = build_objective(
            settings, row.record["data"], logs=logs_of(self._locations.outputs, row.name)
        )
        session, study_id, me = self._database.session, row.study_id, owner_name()
        store = Store(self._locations.checkpoints or row.record["checkpoints"])
        queue = Queue(session, study_id)
        cards = Cards.of(objective.device, settings.train.gpus)
        attempts = Attempts(
            settings, objective, queue, store, self._contact, self._stop, cards=cards
        )
        auxiliary = AuxiliaryClaims(session, study_id, me, follow_up, settings.queue)
        return LoadedStudy(
            Worker.of(attempts, self._database, self._studies),
            AuxiliaryWorker(attempts, auxiliary),
        )


_NOTHING_LEFT = {
    ExitCode.DONE: "nothing is left to do",
    ExitCode.REFUSED: "nothing is left that this machine can do",
}
_ENOUGH = 2
"""Number of others at work on a study so that a worker without work can free its job: when one of
them dies, another takes its work over as soon as its own has ended. With fewer, a worker waits."""


def _are_enough_at(offer: Claimable) -> bool:
    """Return whether the rest of a study is done without workers that have no work."""
    is_left = offer.is_open or offer.waits or offer.is_expired
    return not is_left and offer.holders >= _ENOUGH


class _End(NamedTuple):
    """How a worker ends by itself."""

    code: ExitCode
    reason: str


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
        self.is_one = name is not None
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


def serve(locations: Locations, assignment: Assignment, stop: Stop) -> ExitCode:
    """Serve studies until it is stopped, or the assignment has ended; return how it ended.

    Raises UserError where the database does not let this process in, or lacks a study of the
    assignment, and DatabaseSilent where it does not answer for too long.
    """
    patience = Patience(locations.url, default_patience())
    service = first_contact(
        lambda: Service(locations, assignment, stop, patience), locations.url, patience, stop
    )
    if service is None:
        return ExitCode.HANDED_BACK
    try:
        return service.work()
    finally:
        service.close()
