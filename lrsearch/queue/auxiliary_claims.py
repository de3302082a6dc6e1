"""What one worker may do to the side runs of a study: claim them, and write while they are its."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from lrsearch.config.settings import QueueSettings
from lrsearch.queue.endings import Ending, crash, end_side_run, open_again
from lrsearch.queue.leasing import Leasing, Orders, release
from lrsearch.states import WorkState
from lrsearch.storage.tables import SideRunRow

_DEFAULT_TERMS = QueueSettings()


@dataclass(frozen=True)
class SideClaim:
    """A side run that is this worker's."""

    side_run_id: int
    kind: str
    number: int
    trial_number: int | None
    recipe: Mapping[str, Any] | None
    seed: int
    attempt: int
    result: Mapping[str, Any]
    """What earlier attempts have found."""


class SideClaims:
    """One worker's access to the side runs of one study."""

    def __init__(
        self,
        session: sessionmaker[Session],
        study_id: int,
        owner: str,
        terms: QueueSettings = _DEFAULT_TERMS,
    ) -> None:
        self.session = session
        self.study_id, self.terms = study_id, terms
        self._leasing = Leasing(SideRunRow, session, study_id, owner, terms)

    def claim(self, take_over: bool, *kinds: str) -> SideClaim | None:
        """The next open side run, of one of these kinds where any are given.

        With `take_over`, if there is none, one whose lease ran out. None when there is nothing,
        or the study is not open. One that ends its workers too often is ended instead.
        """
        which = (SideRunRow.kind.in_(kinds),) if kinds else ()
        with self.session.begin() as session:
            row = self._leasing.take_open(session, SideRunRow.side_run_id, *which)
            if row is not None or not take_over:
                return None if row is None else _claimed(row)
        while True:
            with self.session.begin() as session:
                row = self._leasing.take_expired(session, *which)
                if row is None:
                    return None
                if row.deaths < self.terms.max_attempts:
                    return _claimed(row)
                crash(session, row)

    def renew(self, claim: SideClaim) -> Orders:
        """Renews the lease. Raises LeaseLost."""
        with self._own(claim) as (_, orders):
            return orders

    def started(self, claim: SideClaim, device: str) -> None:
        """Writes where it runs. Raises LeaseLost."""
        with self._own(claim) as (session, _):
            self._row(session, claim).device = device

    def record(self, claim: SideClaim, result: Mapping[str, Any]) -> Orders:
        """Writes all that has been found so far; harmless to repeat. Raises LeaseLost."""
        with self._own(claim) as (session, orders):
            self._row(session, claim).result = dict(result)
            return orders

    def finish(
        self,
        claim: SideClaim,
        outcome: Ending,
        result: Mapping[str, Any],
        seconds: float,
        also: Callable[[Session], None] | None = None,
    ) -> None:
        """The side run is done, and what `also` writes is written with it. Raises LeaseLost."""
        with self._own(claim) as (session, _):
            end_side_run(
                session, self.study_id, claim.side_run_id, outcome, seconds, result=dict(result)
            )
            if also is not None:
                also(session)

    def is_finished(self, claim: SideClaim) -> bool:
        """Whether this very attempt has finished: its commit went through, the answer was lost."""
        with self.session() as session:
            found = session.execute(
                select(SideRunRow.state, SideRunRow.attempts).where(
                    SideRunRow.side_run_id == claim.side_run_id
                )
            ).first()  # None where the study has been deleted
            return found is not None and tuple(found) == (WorkState.DONE, claim.attempt)

    def is_over(self, claim: SideClaim) -> bool:
        """Whether anybody has ended the side run, or deleted its study."""
        return self._leasing.is_over(claim.side_run_id)

    def give_back(self, claim: SideClaim) -> None:
        """The side run is open again: it was interrupted on purpose. Raises LeaseLost."""
        with self._own(claim) as (session, _):
            release(session, SideRunRow, claim.side_run_id, claim.attempt)

    def died(self, claim: SideClaim, cause: str) -> None:
        """The run has ended this worker: it is open again, or ended where it ends too many.

        Nothing changes where another has it.
        """
        with self.session.begin() as session:
            limit = self.terms.max_attempts
            open_again(session, SideRunRow, claim.side_run_id, claim.attempt, limit, cause=cause)

    def _own(self, claim: SideClaim) -> AbstractContextManager[tuple[Session, Orders]]:
        return self._leasing.own(claim.side_run_id, claim.attempt)

    @staticmethod
    def _row(session: Session, claim: SideClaim) -> SideRunRow:
        return session.get_one(SideRunRow, claim.side_run_id)


def _claimed(row: SideRunRow) -> SideClaim:
    return SideClaim(
        side_run_id=row.side_run_id,
        kind=row.kind,
        number=row.number,
        trial_number=row.trial_number,
        recipe=row.recipe,
        seed=row.seed,
        attempt=row.attempts,
        result=row.result or {},
    )
