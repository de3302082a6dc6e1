"""Keeps a worker's lease on its unit while it trains, from a thread beside the training."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Self

from lrsearch.queue.leasing import LeaseLost, Orders
from lrsearch.storage.outages import Contact, passes
from lrsearch.workers.stall import StallWatch

LONGEST_INTERVAL = 5.0
"""Seconds between two renewals, at most: so soon a worker hears that a study was paused."""

_log = logging.getLogger(__name__)


class Lease:
    """A lease that is renewed until the end of a `with` block.

    It survives every error of the database. `stall` watches the training meanwhile.
    """

    def __init__(
        self,
        renew: Callable[[], Orders],
        contact: Contact,
        seconds: float,
        stall: StallWatch,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.contact, self.stall = contact, stall
        self.lost = False
        """Another worker has the unit."""
        self.hand_back = False
        """The study was paused or stopped: the trial is to be handed back."""
        self.cut_off = False
        """The database does not answer."""
        self._renew, self._clock = renew, clock
        self._seconds = seconds
        self._interval = min(seconds / 4, LONGEST_INTERVAL)
        self._renewed = clock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    def is_sure(self) -> bool:
        """Whether nobody else can have the unit: the lease has not run out."""
        return not self.lost and self._clock() - self._renewed < self._seconds

    def reach(self, ask: Callable[[], Orders]) -> Orders | None:
        """Ask the database something that renews the lease, too; None when it does not answer.

        Raises LeaseLost, and errors that do not pass.
        """
        with self.stall.waiting():
            return self._reach(ask)

    def _reach(self, ask: Callable[[], Orders]) -> Orders | None:
        asked = self._clock()
        try:
            orders = ask()
        except LeaseLost:
            self.lost = True
            raise
        except Exception as error:
            if not passes(error):
                raise
            if not self.cut_off:
                _log.warning("the database does not answer, training goes on: %s", _short(error))
            self.cut_off = True
            self.contact.failed()
            return None
        if self.cut_off:
            _log.warning("the database answers again")
        self.cut_off = False
        self.contact.reached(self._seconds)
        self._renewed = asked
        self.hand_back = self.hand_back or orders.hand_back
        return orders

    def _keep(self) -> None:
        while not self._ended.wait(self._interval):
            try:
                self._reach(self._renew)
            except LeaseLost:
                return
            except Exception:  # noqa: BLE001 - see below
                # The training meets the same error and says so; this thread must not die of it.
                _log.exception("the lease could not be renewed")


def _short(error: BaseException) -> str:
    return str(getattr(error, "orig", None) or error).strip().splitlines()[0]
