"""Claims of a worker on the auxiliary runs of a study, which are outside its budget of trials."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session, sessionmaker

from lrsearch.queue.claims import Claim, Claims, FollowUp
from lrsearch.queue.endings import Ending
from lrsearch.queue.leasing import Orders
from lrsearch.queue.shares import served
from lrsearch.settings import QueueSettings
from lrsearch.storage.tables import AuxiliaryRunRow

_DEFAULT_TERMS = QueueSettings()


@dataclass(frozen=True, kw_only=True)
class AuxiliaryClaim(Claim):
    """An auxiliary run that this worker owns."""

    kind: str
    trial_number: int | None
    """Number of the trial whose recipe it trains again; None where there is none."""
    recipe: Mapping[str, Any] | None
    result: Mapping[str, Any]
    """Result that earlier attempts have stored."""


class AuxiliaryClaims(Claims[AuxiliaryRunRow, AuxiliaryClaim]):
    """One worker's access to the auxiliary runs of one study."""

    def __init__(
        self,
        session: sessionmaker[Session],
        study_id: int,
        owner: str,
        follow_up: FollowUp,
        terms: QueueSettings = _DEFAULT_TERMS,
    ) -> None:
        order = AuxiliaryRunRow.side_run_id
        super().__init__(AuxiliaryRunRow, order, session, study_id, owner, follow_up, terms)

    def claim(self, take_over: bool, *kinds: str) -> AuxiliaryClaim | None:
        """Claim the next open run, of these kinds or of any; see `claim_where`."""
        return self.claim_where(take_over, *((AuxiliaryRunRow.kind.in_(kinds),) if kinds else ()))

    def _claimed(self, session: Session, row: AuxiliaryRunRow) -> AuxiliaryClaim:
        return AuxiliaryClaim(
            row_id=row.side_run_id,
            kind=row.kind,
            number=row.number,
            trial_number=row.trial_number,
            recipe=row.recipe,
            seed=row.seed,
            attempt=row.attempts,
            result=row.result or {},
        )

    def started(self, claim: AuxiliaryClaim, device: str) -> None:
        """Write the device that the run trains on. Raises LeaseLost."""
        with self._own(claim) as (session, _):
            self._row(session, claim).device = device
            session.flush()
            session.execute(served(self.study_id))

    def record(self, claim: AuxiliaryClaim, result: Mapping[str, Any]) -> Orders:
        """Write the whole result so far, replacing the stored one. Raises LeaseLost."""
        with self._own(claim) as (session, orders):
            self._row(session, claim).result = dict(result)
            return orders

    def finish(
        self,
        claim: AuxiliaryClaim,
        ending: Ending,
        result: Mapping[str, Any],
        seconds: float,
        also: Callable[[Session], None] | None = None,
    ) -> None:
        """End the run, and call `also` in the same transaction. Raises LeaseLost."""
        with self._own(claim) as (session, _):
            self.endings.end_auxiliary_run(
                session, claim.row_id, ending, seconds, result=dict(result)
            )
            if also is not None:
                also(session)

    @staticmethod
    def _row(session: Session, claim: AuxiliaryClaim) -> AuxiliaryRunRow:
        return session.get_one(AuxiliaryRunRow, claim.row_id)
