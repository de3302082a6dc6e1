"""Claims of a worker on the trial slots of a study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, insert, select, update
from sqlalchemy.orm import Session, sessionmaker

from lrsearch.evaluation import Evaluation
from lrsearch.queue.balance import FamilyBalance
from lrsearch.queue.claims import Claim, Claims, FollowUp
from lrsearch.queue.endings import Ending
from lrsearch.queue.leasing import Orders
from lrsearch.queue.shares import served
from lrsearch.settings import QueueSettings
from lrsearch.storage import optuna_bridge
from lrsearch.storage.evaluations import COLUMNS, read_evaluations
from lrsearch.storage.suggestions import Chosen
from lrsearch.storage.tables import EvaluationRow, TrialSlotRow, table_of

Row = dict[str, Any]
"""Columns of an EvaluationRow: unlike an ORM object, writable again after a failed transaction."""
_EVALUATIONS = insert(table_of(EvaluationRow))
_DEFAULT_TERMS = QueueSettings()


@dataclass(frozen=True, kw_only=True)
class TrialClaim(Claim):
    """A trial slot that this worker owns, with its trial."""

    params: Mapping[str, Any]
    """Parameters that the plan of the study has fixed."""
    trial_id: int
    trial_number: int
    is_new: bool
    """Whether this is the first attempt of any worker."""


class TrialClaims(Claims[TrialSlotRow, TrialClaim]):
    """One worker's access to the trial slots of one study."""

    def __init__(
        self,
        session: sessionmaker[Session],
        study_id: int,
        owner: str,
        follow_up: FollowUp,
        terms: QueueSettings = _DEFAULT_TERMS,
        balance: FamilyBalance | None = None,
    ) -> None:
        super().__init__(
            TrialSlotRow, TrialSlotRow.number, session, study_id, owner, follow_up, terms
        )
        self.balance = balance

    def claim(self, take_over: bool) -> TrialClaim | None:
        """Claim the next open trial slot, by number; see `claim_where`."""
        return self.claim_where(take_over)

    def _claimed(self, session: Session, row: TrialSlotRow) -> TrialClaim:
        """Return the claim with the slot's trial, which is created if the slot has none."""
        is_new = row.trial_id is None
        if row.trial_id is None or row.trial_number is None:
            if self.balance is not None and "scheduler" not in row.params:
                row.params = {**row.params, **self.balance.next(session, self.study_id)}
            created = optuna_bridge.create(session, self.study_id, row.number)
            row.trial_id, row.trial_number = created
        else:
            optuna_bridge.set_running(session, row.trial_id)
        return TrialClaim(
            row_id=row.unit_id,
            number=row.number,
            params=row.params,
            seed=row.seed,
            attempt=row.attempts,
            trial_id=row.trial_id,
            trial_number=row.trial_number,
            is_new=is_new,
        )

    def started(
        self,
        claim: TrialClaim,
        chosen: Chosen,
        recipe: Mapping[str, Any],
        device: str,
        columns: Mapping[str, Any],
    ) -> None:
        """Write the trial's parameters, recipe and device before it trains. Raises LeaseLost."""
        with self._own(claim) as (session, _):
            session.execute(
                update(TrialSlotRow)
                .where(TrialSlotRow.unit_id == claim.row_id)
                .values(recipe=dict(recipe), device=device, warning=None)
            )
            optuna_bridge.set_parameters(session, claim.trial_id, chosen)
            optuna_bridge.annotate(session, claim.trial_id, columns)
            session.flush()
            session.execute(served(self.study_id))  # the last statement: others wait for the row

    def reported(self, claim: TrialClaim) -> list[Evaluation]:
        """Return the trial's evaluations in earlier attempts, in order."""
        query = select(*COLUMNS).where(EvaluationRow.trial_id == claim.trial_id)
        with self.session() as session:
            return read_evaluations(session, query).get(claim.trial_id, [])

    def record(
        self, claim: TrialClaim, rows: Sequence[Row], replace_from: int | None = None
    ) -> Orders:
        """Write evaluations, after deleting those from `replace_from` on. Raises LeaseLost."""
        with self._own(claim) as (session, orders):
            if replace_from is not None:
                own_rows = EvaluationRow.trial_id == claim.trial_id
                later = EvaluationRow.evaluation >= replace_from
                session.execute(delete(EvaluationRow).where(own_rows, later))
                optuna_bridge.unreport(session, claim.trial_id, replace_from)
            if rows:
                session.execute(_EVALUATIONS, rows)
                values = [(row["evaluation"], row["value"]) for row in rows]
                optuna_bridge.report(session, claim.trial_id, values)
        return orders

    def weights_kept(self, claim: TrialClaim, where: str | None, dropped: Sequence[int]) -> None:
        """Write where the trial's weights are, and that those of others were deleted.

        Raises LeaseLost.
        """
        own = TrialSlotRow.unit_id == claim.row_id
        others = TrialSlotRow.trial_number.in_(dropped) & (TrialSlotRow.study_id == self.study_id)
        with self._own(claim) as (session, _):
            session.execute(update(TrialSlotRow).where(own).values(weights=where))
            session.execute(update(TrialSlotRow).where(others).values(weights=None))

    def warn(self, claim: TrialClaim, warning: str) -> Orders:
        """Write what is doubtful about the training. Raises LeaseLost."""
        with self._own(claim) as (session, orders):
            session.execute(
                update(TrialSlotRow)
                .where(TrialSlotRow.unit_id == claim.row_id)
                .values(warning=warning)
            )
            optuna_bridge.annotate(session, claim.trial_id, {"warning": warning})
        return orders

    def finish(self, claim: TrialClaim, ending: Ending, seconds: float) -> None:
        """End the trial slot and its trial. Raises LeaseLost."""
        with self._own(claim) as (session, _):
            self.endings.end_trial(session, claim.row_id, ending, seconds)
