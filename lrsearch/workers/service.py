"""A worker process: serves the studies of a database, by priority, then the oldest first."""

from __future__ import annotations

import gc
import logging
import time
from dataclasses import dataclass

from sqlalchemy.exc import DBAPIError

from lrsearch.checkpoints.store import Store
from lrsearch.config.load import stored_settings
from lrsearch.errors import LrsearchError, UserError
from lrsearch.loggers import build_logger
from lrsearch.objectives.builtin import build_objective
from lrsearch.queue.auxiliary_claims import AuxiliaryClaims
from lrsearch.queue.balance import FamilyBalance
from lrsearch.queue.owners import host_name, owner_name
from lrsearch.queue.queue import Queue
from lrsearch.queue.trial_claims import TrialClaims
from lrsearch.settings import QueueSettings
from lrsearch.states import RunKind, StudyState, WorkState
from lrsearch.storage.database import Database, unusable, why
from lrsearch.storage.optuna_bridge import Studies
from lrsearch.storage.outages import Contact, Waits, passes, persist, refusals_in_words
from lrsearch.storage.tables import StudyRow
from lrsearch.study.follow_up import follow_up
from lrsearch.study.index import StudyIndex, Waiting
from lrsearch.study.study import find_row, load_row
from lrsearch.text.redaction import redacted
from lrsearch.text.shell import command, name_word
from lrsearch.tuning.pruners import build_pruner
from lrsearch.workers.attempt import Attempts
from lrsearch.workers.auxiliary_worker import AuxiliaryWorker
from lrsearch.workers.here import Here
from lrsearch.workers.stop import Stop
from lrsearch.workers.surroundings import signals_kept
from lrsearch.workers.worker import Worker

IDLE_WAIT = 1.0
"""Seconds between two looks for work, at most, when there is none."""
SECOND_LOOK = 600.0
"""Seconds after which a study that could not be served here is tried again."""
FIRST_ANSWER = 60.0
"""Seconds in which the database has to answer for the first time."""

_log = logging.getLogger(__name__)


class Service:
    """Claim and works until told to stop or, with `until_empty`, until nothing is left."""

    def __init__(self, here: Here, only: str | None, until_empty: bool, stop: Stop) -> None:
        self._here, self._only, self._until_empty, self._stop = here, only, until_empty, stop
        self._studies = Studies(here.url)
        self._database = Database(here.url, self._studies.engine)
        self._index = StudyIndex(self._database.session)
        self._contact = Contact()
        self._loaded: tuple[Waiting, _Workers] | None = None
        self._refused: dict[tuple[int, int], float] = {}
        """Until when a study, in this form, is left alone."""

        if only is not None:
            load_row(self._database, only)

    def work(self) -> None:
        """Raises UserError where the only study to serve cannot be served here.

        DatabaseRefuses is one.
        """
        waits, is_idle = Waits(), False
        _log.info("serving %s of %s", self._only or "all studies", redacted(self._here.url))
        while not self._stop.is_set():
            try:
                with refusals_in_words():
                    waiting = self._index.waiting(self._only)
                    worked = any(self._work_on(study) for study in waiting)
                    is_over = self._until_empty and not worked and not self._left(waiting)
                    if is_over or not (worked or is_idle):
                        said = "nothing is left to do" if is_over else "waiting for work"
                        _log.info("; ".join([said, *self._left_alone(waiting)]))
                    if is_over:
                        return
            except Exception as error:
                if not passes(error):
                    raise
                self._contact.failed()
                _log.warning("the database does not answer: waiting for it")
                self._stop.wait(waits.next())
                continue
            self._contact.reached(self._gap())
            if worked:
                waits, is_idle = Waits(), False
                continue
            is_idle = True
            self._stop.wait(min(waits.next(), IDLE_WAIT))
        _log.info("told to stop")

    def close(self) -> None:
        """Give all connections back."""
        gc.unfreeze()  # extensions that count what is left at the end would complain
        self._studies.close()

    def _left_alone(self, waiting: list[Waiting]) -> list[str]:
        """Why nothing is done here about studies that are not at their end."""
        refused = {study.study_id for study in waiting if self._is_refused(study)}
        said = []
        for study in self._index.statuses():
            if self._only not in (None, study.name) or study.shown_state == WorkState.DONE:
                continue
            if study.state != StudyState.OPEN:
                again = command("resume", name_word(study.name))
                said.append(f"{study.name} is {study.state}; to go on: {again}")
            elif study.study_id in refused:
                said.append(f"{study.name} is left alone here")
        return said

    def _left(self, waiting: list[Waiting]) -> list[Waiting]:
        return [study for study in waiting if not self._is_refused(study)]

    def _gap(self) -> float:
        """A silence that breaks the contact: by then others may have thought us dead."""
        return QueueSettings().lease if self._loaded is None else self._loaded[1].lease

    def _work_on(self, study: Waiting) -> bool:
        """Bring one trial or auxiliary run of a study to its end; false when it has none for us."""
        if self._is_refused(study):
            return False
        workers = self._load(study)
        if workers is None:
            return False
        return workers.work(take_over=self._contact.lasted(workers.lease))

    def _is_refused(self, study: Waiting) -> bool:
        return time.monotonic() < self._refused.get((study.study_id, study.runs), 0.0)

    def _load(self, study: Waiting) -> _Workers | None:
        """The workers for a study; None, with the reason recorded, if it cannot be served here."""
        if self._loaded is not None and self._loaded[0].same_as(study):
            return self._loaded[1]
        if self._loaded is not None:
            self._loaded = None  # only one at a time holds memory
            gc.unfreeze()
        row = find_row(self._database, study.study_id)
        if row is None:
            return None  # deleted since it was listed
        try:
            with signals_kept():
                workers = self._build(row)
        except BaseException as error:
            reason = _in_short(error)
            if self._only is not None and self._until_empty:
                raise UserError(reason) from error
            _log.warning("the study %s is left alone: %s", study.name, reason)
            self._index.refuse(study.study_id, host_name(), reason)
            self._refused[study.study_id, study.runs] = time.monotonic() + SECOND_LOOK
            return None
        self._index.accept(study.study_id, host_name())
        self._loaded = (study, workers)
        _log.info("%s: %s", study.name, workers.device)
        # What is loaded stays: the garbage collector need not look through it during training.
        gc.collect()
        gc.freeze()
        return workers

    def _build(self, row: StudyRow) -> _Workers:
        """Imports and calls the user's code: raises anything."""
        settings = stored_settings(row.config, data=self._here.data)
        objective = build_objective(settings, row.record["data"])
        pruner = build_pruner(settings.pruner, objective.most_evaluations(), settings.metric.mode)
        session, study_id, me = self._database.session, row.study_id, owner_name()
        store = Store(self._here.checkpoints or row.record["checkpoints"])
        queue = Queue(session, study_id)
        attempts = Attempts(settings, objective, queue, store, self._contact, self._stop)
        claims = TrialClaims(
            session, study_id, me, follow_up, settings.queue, FamilyBalance.of(settings)
        )
        auxiliary = AuxiliaryClaims(session, study_id, me, follow_up, settings.queue)
        open_log = build_logger(settings.logger)
        return _Workers(
            Worker(attempts, pruner, claims, self._studies, open_log),
            AuxiliaryWorker(attempts, auxiliary),
        )


def _in_short(error: BaseException) -> str:
    """Why a study cannot be served; of the user's errors what they are, without a traceback."""
    if isinstance(error, LrsearchError):
        return str(error)
    try:
        return repr(error)
    except BaseException:  # noqa: BLE001 - an exception's own methods can raise anything
        return type(error).__qualname__


@dataclass(frozen=True)
class _Workers:
    """What serves one study: a range test first, if it has one, then trials, then other runs."""

    trials: Worker
    auxiliary_runs: AuxiliaryWorker

    @property
    def lease(self) -> float:
        """Seconds."""
        return self.trials.claims.terms.lease

    @property
    def device(self) -> str:
        """It trains on."""
        return self.trials.objective.device_name

    def work(self, take_over: bool) -> bool:
        """Bring one trial or auxiliary run to its end; false when there is none."""
        if self.trials.settings.space.to_find:
            # Nothing can be suggested yet. Once the range is found, this study is loaded again.
            first = self.auxiliary_runs.claims.claim(take_over, RunKind.RANGE_TEST)
            if first is not None:
                self.auxiliary_runs.run(first)
            return first is not None
        if (claim := self.trials.claims.claim(take_over)) is not None:
            self.trials.run(claim)
            return True
        if (side := self.auxiliary_runs.claims.claim(take_over)) is not None:
            self.auxiliary_runs.run(side)
            return True
        return False


def serve(here: Here, only: str | None, until_empty: bool, stop: Stop) -> None:
    """A worker process, until nothing is left or it is told to stop.

    Raises UserError when the database cannot be reached for a while, or the only study to serve
    cannot be served here.
    """
    patience = time.monotonic() + FIRST_ANSWER

    def wait(seconds: float) -> bool:
        return stop.wait(seconds) or time.monotonic() > patience

    def failed(error: BaseException) -> None:
        left = max(0.0, patience - time.monotonic())
        said = why(here.url, error)
        _log.warning("the database does not answer: waiting up to %.0f s for it (%s)", left, said)

    try:
        service = persist(lambda: Service(here, only, until_empty, stop), wait, failed)
    except DBAPIError as error:
        raise unusable(here.url, error) from error
    service.work()
    service.close()
