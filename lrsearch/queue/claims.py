"""What one worker may do to the units of a study: claim them, and write as long as they are its.

A unit that has gone to another is not written to: LeaseLost is raised, and nothing changes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, insert, select, update
from sqlalchemy.orm import Session, sessionmaker

from lrsearch.config.settings import QueueSettings
from lrsearch.evaluation import Evaluation
from lrsearch.queue.balance import FamilyBalance
from lrsearch.queue.endings import Ending, crash, end, open_again
from lrsearch.queue.leasing import Leasing, Orders, release
from lrsearch.states import WorkState
from lrsearch.storage import optuna_bridge
from lrsearch.storage.clock import ticked
from lrsearch.storage.evaluations import COLUMNS, read_evaluations
from lrsearch.storage.suggestions import Chosen
from lrsearch.storage.tables import EvaluationRow, StudyRow, UnitRow

Row = dict[str, Any]
"""The columns of an EvaluationRow: what can be written again after a transaction that failed."""
_DEFAULT_TERMS = QueueSettings()


@dataclass(frozen=True)
class Claim:
    """A unit that is this worker's, with its trial."""

    unit_id: int
    number: int
    params: Mapping[str, Any]
    seed: int
    attempt: int
    trial_id: int
    trial_number: int
    is_new: bool
    """Whether nobody has had it before."""


class Claims:
    """One worker's access to the units of one study."""

    def __init__(
        self,
        session: sessionmaker[Session],
        study_id: int,
        owner: str,
        terms: QueueSettings = _DEFAULT_TERMS,
        balance: FamilyBalance | None = None,
    ) -> None:
        self.session = session
        self.study_id, self.terms, self.balance = study_id, terms, balance
        self._leasing = Leasing(UnitRow, session, study_id, owner, terms)

    def claim(self, take_over: bool) -> Claim | None:
        """The next open unit, with its trial, now this owner's.

        With `take_over`, if there is none, one whose lease ran out. None when there is nothing,
        or the study is not open. A unit that ends its workers too often is ended instead.
        """
        with self.session.begin() as session:
            row = self._leasing.take_open(session, UnitRow.number)
            if row is not None or not take_over:
                return None if row is None else self._claimed(session, row)
        while True:
            with self.session.begin() as session:
                row = self._leasing.take_expired(session)
                if row is None:
                    return None
                if row.deaths < self.terms.max_attempts:
                    return self._claimed(session, row)
                crash(session, row)

    def _claimed(self, session: Session, row: UnitRow) -> Claim:
        """The claim, with the unit's trial; a new one is made in the same transaction."""
        is_new = row.trial_id is None
        if row.trial_id is None or row.trial_number is None:
            if self.balance is not None and "scheduler" not in row.params:
                row.params = {**row.params, **self.balance.next(session, self.study_id)}
            row.trial_id, row.trial_number = optuna_bridge.create(
                session, self.study_id, row.number
            )
        else:
            optuna_bridge.set_running(session, row.trial_id)
        return Claim(
            unit_id=row.unit_id,
            number=row.number,
            params=row.params,
            seed=row.seed,
            attempt=row.attempts,
            trial_id=row.trial_id,
            trial_number=row.trial_number,
            is_new=is_new,
        )

    def renew(self, claim: Claim) -> Orders:
        """Renews the lease. Raises LeaseLost."""
        with self._own(claim) as (_, orders):
            return orders

    def started(
        self,
        claim: Claim,
        chosen: Chosen,
        recipe: Mapping[str, Any],
        device: str,
        columns: Mapping[str, Any],
    ) -> None:
        """Writes what the trial is about to train. Raises LeaseLost."""
        with self._own(claim) as (session, _):
            session.execute(
                update(UnitRow)
                .where(UnitRow.unit_id == claim.unit_id)
                .values(recipe=dict(recipe), device=device)
            )
            optuna_bridge.set_parameters(session, claim.trial_id, chosen)
            optuna_bridge.annotate(session, claim.trial_id, columns)
            mine = StudyRow.study_id == self.study_id
            session.execute(update(StudyRow).where(mine).values(ticked()))

    def reported(self, claim: Claim) -> list[Evaluation]:
        """Return the trial's evaluations in earlier attempts, in order."""
        query = select(*COLUMNS).where(EvaluationRow.trial_id == claim.trial_id)
        with self.session() as session:
            return read_evaluations(session, query).get(claim.trial_id, [])

    def record(
        self,
        claim: Claim,
        rows: Sequence[Row],
        replace_from: int | None = None,
    ) -> Orders:
        """Write evaluations; those from `replace_from` on are removed first. Raises LeaseLost."""
        with self._own(claim) as (session, orders):
            if replace_from is not None:
                mine = EvaluationRow.trial_id == claim.trial_id
                session.execute(
                    delete(EvaluationRow).where(mine, EvaluationRow.evaluation >= replace_from)
                )
                optuna_bridge.unreport(session, claim.trial_id, replace_from)
            if rows:
                session.execute(insert(EvaluationRow), rows)
                values = [(row["evaluation"], row["value"]) for row in rows]
                optuna_bridge.report(session, claim.trial_id, values)
        return orders

    def finish(self, claim: Claim, outcome: Ending, seconds: float) -> None:
        """The unit is done. Raises LeaseLost."""
        with self._own(claim) as (session, _):
            end(session, self.study_id, claim.unit_id, outcome, seconds)

    def is_finished(self, claim: Claim) -> bool:
        """Whether this very attempt has finished: its commit went through, the answer was lost."""
        with self.session() as session:
            found = session.execute(
                select(UnitRow.state, UnitRow.attempts).where(UnitRow.unit_id == claim.unit_id)
            ).first()  # None where the study has been deleted
            return found is not None and tuple(found) == (WorkState.DONE, claim.attempt)

    def is_over(self, claim: Claim) -> bool:
        """Whether anybody has ended the unit, or deleted its study."""
        return self._leasing.is_over(claim.unit_id)

    def give_back(self, claim: Claim) -> None:
        """The unit is open again: it was interrupted on purpose. Raises LeaseLost."""
        with self._own(claim) as (session, _):
            release(session, UnitRow, claim.unit_id, claim.attempt)
            optuna_bridge.set_waiting(session, claim.trial_id)

    def died(self, claim: Claim, cause: str) -> None:
        """The unit has ended this worker: it is open again, or ended where it ends too many.

        Nothing changes where another has it.
        """
        with self.session.begin() as session:
            limit = self.terms.max_attempts
            open_again(session, UnitRow, claim.unit_id, claim.attempt, limit, cause=cause)

    def _own(self, claim: Claim) -> AbstractContextManager[tuple[Session, Orders]]:
        return self._leasing.own(claim.unit_id, claim.attempt)
