"""Claims of a worker on the work of a study: claim it, and write to it while owning it.

The rules are the same for trials and auxiliary runs. Writing to work that another worker has taken
over raises LeaseLost and changes nothing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session, sessionmaker

from lrsearch.queue.endings import Endings, mark_waiting
from lrsearch.queue.leasing import Leasing, Orders, Row, key, release
from lrsearch.settings import QueueSettings
from lrsearch.states import WorkState

FollowUp = Callable[[Session, int], None]
"""Plans a study's next work after some of it has ended, in the same transaction."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """Work that this worker owns."""

    row_id: int
    """Primary key of its row."""
    number: int
    seed: int
    attempt: int
    """Number of this attempt at the work, counted from 1."""


ClaimType = TypeVar("ClaimType", bound=Claim)


class Claims(ABC, Generic[Row, ClaimType]):
    """One worker's access to the rows of one study in one table."""

    def __init__(
        self,
        table: type[Row],
        order: Any,
        session: sessionmaker[Session],
        study_id: int,
        owner: str,
        follow_up: FollowUp,
        terms: QueueSettings,
    ) -> None:
        """`order` is the column by which open rows are claimed, the lowest first."""
        self.table, self._order = table, order
        self.session, self.study_id, self.terms = session, study_id, terms
        self.endings = Endings(study_id, terms.max_attempts, follow_up)
        self._leasing = Leasing(table, session, study_id, owner, terms)

    def claim_where(self, take_over: bool, *which: ColumnElement[bool]) -> ClaimType | None:
        """Claim the next open row that meets the conditions `which`.

        With `take_over`, if none is open, reclaim rows whose leases have run out, one at a time,
        until one of them is open. None when there is nothing to claim, or the study is not open.
        """
        while True:
            with self.session.begin() as session:
                row = self._leasing.take_open(session, self._order, *which)
                if row is not None:
                    return self._claimed(session, row)
                expired = self._leasing.release_expired(session, *which) if take_over else None
                if expired is None:
                    return None
                self.endings.reclaim(session, expired)

    @abstractmethod
    def _claimed(self, session: Session, row: Row) -> ClaimType:
        """Return the claim on a row that was just taken."""

    def renew(self, claim: ClaimType) -> Orders:
        """Renew the lease. Raises LeaseLost."""
        with self._own(claim) as (_, orders):
            return orders

    def is_finished(self, claim: ClaimType) -> bool:
        """Return whether this attempt is stored as finished, as when only the answer was lost."""
        with self.session() as session:
            state = session.execute(
                select(self.table.state, self.table.attempts).where(key(self.table) == claim.row_id)
            ).first()  # None where the study has been deleted
            return state is not None and tuple(state) == (WorkState.DONE, claim.attempt)

    def is_over(self, claim: ClaimType) -> bool:
        """Return whether any worker has finished the work, or its study was deleted."""
        return self._leasing.is_over(claim.row_id)

    def give_back(self, claim: ClaimType) -> None:
        """Reopen work that was interrupted on purpose. Raises LeaseLost."""
        with self._own(claim) as (session, _):
            row = release(session, self.table, claim.row_id, claim.attempt)
            if row is not None:
                mark_waiting(session, row)

    def died(self, claim: ClaimType, cause: str) -> None:
        """Record that this worker's process ends because of the work: reopen it, or give it up.

        Nothing changes where another worker owns it.
        """
        with self.session.begin() as session:
            row = release(session, self.table, claim.row_id, claim.attempt, deaths=1)
            self.endings.reclaim(session, row, cause)

    def _own(self, claim: ClaimType) -> AbstractContextManager[tuple[Session, Orders]]:
        return self._leasing.own(claim.row_id, claim.attempt)
