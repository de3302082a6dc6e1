"""What bringing a unit and bringing a side run to its end have in common."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

from sqlalchemy.exc import SQLAlchemyError

from lrsearch.checkpoints.store import Checkpoints, Store
from lrsearch.config.settings import Settings
from lrsearch.errors import LrsearchError
from lrsearch.objective import Objective
from lrsearch.study import tables
from lrsearch.study.endings import Outcome
from lrsearch.study.leasing import LeaseLost, Orders
from lrsearch.study.outages import Contact, passes, persist
from lrsearch.study.queue import Queue
from lrsearch.training.loop import Diverged, OutOfMemory, Stopped
from lrsearch.workers.lease import Lease
from lrsearch.workers.reporter import Pruned
from lrsearch.workers.stop import Stop
from lrsearch.workers.work_log import WorkLog

T = TypeVar("T")


class DatabaseRefuses(LrsearchError):
    """The database takes no writes, for a reason that does not pass by itself."""


class Values(Protocol):
    """The values of the metric that a training has reported."""

    @property
    def last(self) -> float | None:
        """The last one."""

    def value(self) -> float | None:
        """The one that counts for the whole training."""


class Attempts:
    """One worker's tools for the work of one study."""

    def __init__(
        self,
        settings: Settings,
        objective: Objective,
        queue: Queue,
        store: Store,
        contact: Contact,
        stop: Stop,
    ) -> None:
        self.settings, self.objective = settings, objective
        self.queue, self.store = queue, store
        self.contact, self.stop = contact, stop

    @property
    def folder(self) -> str:
        """In the store, of this very study: a later one of the same name has another."""
        return f"{self.settings.study.name}-{self.queue.study_id}"

    def lease(self, renew: Callable[[], Orders]) -> Lease:
        """Keeps what is claimed, minds the study's time, and hears when to hand it back."""

        def beat() -> Orders:
            orders = renew()
            timeout = self.settings.study.timeout
            if self.queue.tick() >= (timeout or float("inf")):
                self.queue.stop(f"study.timeout={timeout:g} s is up", hand_back=True)
                return Orders(hand_back=True)
            return orders

        queue = self.settings.queue
        return Lease(beat, self.contact, queue.lease, queue.stall_timeout)

    def should_stop(self, lease: Lease) -> Callable[[], bool]:
        """What is asked after each training step: whether to leave it."""

        def asked() -> bool:
            lease.progress()
            return self.stop.is_set() or lease.lost or lease.hand_back

        return asked

    @staticmethod
    def ended(train: Callable[[], T], values: Values) -> tuple[Outcome, T | None]:
        """Trains, and says how it ended, and with which of the `values` that were reported.

        Raises LeaseLost, Stopped and DatabaseRefuses.
        """
        try:
            result = train()
        except Pruned:
            return Outcome(tables.PRUNED, values.last), None
        except Diverged as error:
            return Outcome(tables.DIVERGED, values.last, str(error), error.step, error.lr), None
        except OutOfMemory as error:
            return Outcome(
                tables.OUT_OF_MEMORY, values.last, str(error), error.step, error.lr
            ), None
        except (LeaseLost, Stopped):
            raise
        except SQLAlchemyError as error:
            raise DatabaseRefuses(f"the database refuses a write: {error}") from error
        except (Exception, SystemExit):  # noqa: BLE001 - the user's code can raise anything
            return Outcome(tables.FAILED, reason=traceback.format_exc()), None
        return Outcome(tables.COMPLETE, values.value()), result

    def until_stopped(self, action: Callable[[], T]) -> T:
        """Repeats what an outage prevents. Raises Stopped when told to stop meanwhile."""
        try:
            return persist(action, self.stop.wait, lambda error: self.contact.failed())
        except Exception as error:
            if passes(error):
                raise Stopped("stopped while the database did not answer") from error
            raise


def bring_to_end(
    log: WorkLog,
    lease: Lease,
    checkpoints: Checkpoints,
    work: Callable[[], None],
    give_back: Callable[[], None],
) -> None:
    """Works under the lease; hands back when told to, and leaves what was lost."""
    with lease:
        try:
            work()
        except LeaseLost:
            log.lost()
            return
        except Stopped:
            if lease.lost:
                log.lost()
            else:
                _hand_back(give_back, log)
            return
    checkpoints.clear()


def _hand_back(give_back: Callable[[], None], log: WorkLog) -> None:
    """Hands back at once; if the database does not answer, the lease runs out."""
    try:
        give_back()
    except LeaseLost:
        log.lost()
    except Exception as error:
        if not passes(error):
            raise
        log.left()
    else:
        log.handed_back()


class WhileOwned:
    """Checkpoints of work that nobody else can have: what was lost is not written to."""

    def __init__(self, checkpoints: Checkpoints, lease: Lease) -> None:
        self._checkpoints, self._lease = checkpoints, lease
        self.folder = checkpoints.folder
        self.load = checkpoints.load
        self.clear = checkpoints.clear

    def save(self, state: Mapping[str, Any]) -> None:
        """Saves, as long as the lease is sure."""
        if self._lease.is_sure():
            self._checkpoints.save(state)
