"""Renew the lease of a running trial or auxiliary run, from a thread beside the training."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Self

from lrsearch.queue.leasing import LeaseLost, Orders
from lrsearch.storage.outages import Contact, passes, refusals_in_words
from lrsearch.workers.stall import StallWatch

LONGEST_INTERVAL = 5.0
"""Longest time in seconds between two renewals: the delay of an order to pause or stop."""

_log = logging.getLogger(__name__)


class Lease:
    """A lease that is renewed until the end of a `with` block.

    Errors of the database do not end it. `stall` watches the training for stalls.
    """

    def __init__(
        self,
        renew: Callable[[], Orders],
        contact: Contact,
        seconds: float,
        stall: StallWatch,
        clock: Callable[[], float] = time.monotonic,
        tick: Callable[[], bool] = lambda: False,
    ) -> None:
        """Set up a lease of a length in seconds.

        `renew` renews it once. `tick`, called where `Orders.tick` says so, counts the study's time,
        and returns whether it is used up: then the work is to be handed back.
        """
        self.contact, self.stall = contact, stall
        self.lost = False
        """Another worker has taken the work over."""
        self.hand_back = False
        """The study was paused or stopped: the work is to be handed back."""
        self.cut_off = False
        """The database does not answer."""
        self._renew, self._clock, self._tick = renew, clock, tick
        self._seconds = seconds
        self._interval = min(seconds / 4, LONGEST_INTERVAL)
        self._renewed = self._tried = clock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    def is_sure(self) -> bool:
        """Return whether no other worker can have the work: the lease has not run out."""
        return not self.lost and self._clock() - self._renewed < self._seconds

    def report(self, write: Callable[[], Orders]) -> None:
        """Write an evaluation that is done, which renews the lease, too.

        During an outage the lease's thread tries to reach the database, not the training. Raises
        LeaseLost, DatabaseRefuses, and errors of the evaluation itself.
        """
        self.stall.reported()
        if not self.cut_off:
            self.reach(write)

    def reach(self, transaction: Callable[[], Orders]) -> Orders | None:
        """Run a transaction that also renews the lease; None when the database does not answer.

        Raises LeaseLost, DatabaseRefuses, and database errors that are no outage.
        """
        with self.stall.waiting(), refusals_in_words():
            return self._reach(transaction)

    def _reach(self, transaction: Callable[[], Orders]) -> Orders | None:
        begun = self._tried = self._clock()
        try:
            orders = transaction()
            is_over = orders.tick and self._tick()
        except LeaseLost:
            self.lost = True
            raise
        except Exception as error:
            if not passes(error):
                raise
            if not self.cut_off:
                _log.warning(
                    "the database does not answer, training goes on: %s", _first_line(error)
                )
            self.cut_off = True
            self.contact.failed()
            return None
        if self.cut_off:
            _log.warning("the database answers again")
        self.cut_off = False
        self.contact.reached(self._seconds)
        self._renewed = begun
        self.hand_back = self.hand_back or orders.hand_back or is_over
        return orders

    def _keep(self) -> None:
        while not self._ended.wait(self._left()):
            if self._left() > 0:
                continue  # a report has renewed it meanwhile
            try:
                self._reach(self._renew)
            except LeaseLost:
                return
            except Exception:  # noqa: BLE001 - explained below
                # The training thread gets the same error and raises it; this one goes on trying.
                _log.exception("the lease could not be renewed")

    def _left(self) -> float:
        """Return the seconds until the next renewal."""
        return max(0.0, self._tried + self._interval - self._clock())


def _first_line(error: BaseException) -> str:
    return str(getattr(error, "orig", None) or error).strip().splitlines()[0]
