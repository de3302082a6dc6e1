"""The queue of a study: its trial slots, its state and its clock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, delete, func, select, update
from sqlalchemy.orm import Session, sessionmaker

from lrsearch.seeds import derived_seed
from lrsearch.states import Outcome, StudyState, WorkState
from lrsearch.storage.clock import spent, tick
from lrsearch.storage.tables import AuxiliaryRunRow, StudyRow, TrialSlotRow

FAILURES_IN_A_ROW = 3
"""Number of failed trials in a row that stops the study."""


class Queue:
    """The slots of one study. Each method is one short transaction."""

    def __init__(self, session: sessionmaker[Session], study_id: int) -> None:
        self._session = session
        self.study_id = study_id

    def add(self, slots: Iterable[tuple[Mapping[str, Any], int]], first: int = 0) -> None:
        """Add open slots, numbered from `first`, each with fixed parameters and a seed."""
        with self._session.begin() as session:
            self.add_to(session, self.study_id, slots, first)

    def add_by_hand(self, params: Mapping[str, Any], seed: int) -> int:
        """Add an open slot that is claimed before all others; return its number, below 0.

        The plan, whose slots are numbered from 0, is extended and cut regardless of it.
        """
        with self._session.begin() as session:
            # This locks the study's row until the end of the transaction: no number is used twice.
            study = StudyRow.study_id == self.study_id
            session.execute(update(StudyRow).where(study).values(priority=StudyRow.priority))
            lowest = select(func.min(TrialSlotRow.number)).where(
                TrialSlotRow.study_id == self.study_id
            )
            number = min(0, session.scalar(lowest) or 0) - 1
            slot = (params, derived_seed(seed, "try", number))
            self.add_to(session, self.study_id, [slot], number)
        return number

    @staticmethod
    def add_to(
        session: Session,
        study_id: int,
        slots: Iterable[tuple[Mapping[str, Any], int]],
        first: int = 0,
    ) -> None:
        """Add slots as `add` does, in the caller's transaction."""
        session.add_all(
            TrialSlotRow(study_id=study_id, number=first + k, params=dict(params), seed=seed)
            for k, (params, seed) in enumerate(slots)
        )

    def total(self) -> int:
        """Return the number of slots."""
        with self._session() as session:
            query = select(func.count()).where(TrialSlotRow.study_id == self.study_id)
            return session.scalar(query) or 0

    def planned(self) -> int:
        """Return the number of slots, without those that were added by hand."""
        with self._session() as session:
            query = (TrialSlotRow.study_id == self.study_id) & (TrialSlotRow.number >= 0)
            return session.scalar(select(func.count()).where(query)) or 0

    def trim(self, total: int) -> int:
        """Remove untouched slots of the plan from number `total` on; return how many remain."""
        with self._session.begin() as session:
            session.execute(
                delete(TrialSlotRow).where(*self._untouched(), TrialSlotRow.number >= total)
            )
        return self.planned()

    def replan(self, slots: Sequence[tuple[Mapping[str, Any], int]]) -> None:
        """Give untouched slots the parameters of a new plan, when the sampler has changed."""
        with self._session.begin() as session:
            untouched = session.scalars(
                select(TrialSlotRow).where(
                    *self._untouched(), TrialSlotRow.number.between(0, len(slots) - 1)
                )
            )
            for row in untouched:
                row.params = dict(slots[row.number][0])

    def _untouched(self) -> tuple[ColumnElement[bool], ...]:
        """Return the conditions for open slots without a trial.

        A slot that was handed back has a trial, which must be finished.
        """
        return (
            TrialSlotRow.study_id == self.study_id,
            TrialSlotRow.state == WorkState.OPEN,
            TrialSlotRow.trial_id.is_(None),
        )

    def counts(self) -> dict[str, int]:
        """Return the number of slots in each state."""
        return self._counts(TrialSlotRow)

    def work(self) -> dict[str, int]:
        """Return the number of slots and auxiliary runs together in each state."""
        slots, auxiliary_runs = self._counts(TrialSlotRow), self._counts(AuxiliaryRunRow)
        return {state: count + auxiliary_runs[state] for state, count in slots.items()}

    def _counts(self, table: type[TrialSlotRow | AuxiliaryRunRow]) -> dict[str, int]:
        with self._session() as session:
            rows = session.execute(
                select(table.state, func.count())
                .where(table.study_id == self.study_id)
                .group_by(table.state)
            )
            counts = {str(state): int(count) for state, count in rows}
            return {WorkState.OPEN: 0, WorkState.RUNNING: 0, WorkState.DONE: 0} | counts

    def max_running(self) -> int | None:
        """Return the most trials and auxiliary runs that may run at a time; None is no limit."""
        with self._session() as session:
            query = select(StudyRow.max_running).where(StudyRow.study_id == self.study_id)
            return session.scalar(query)

    def outcomes(self) -> dict[str, int]:
        """Return the number of slots with each outcome."""
        with self._session() as session:
            rows = session.execute(
                select(TrialSlotRow.outcome, func.count())
                .where(TrialSlotRow.study_id == self.study_id, TrialSlotRow.state == WorkState.DONE)
                .group_by(TrialSlotRow.outcome)
            )
            return {str(outcome): int(count) for outcome, count in rows}

    def stop_after_failures(self) -> str | None:
        """Stop the study if the last FAILURES_IN_A_ROW trials have failed; return the last reason.

        Crashed trials do not count, since the machine may be the cause. None where it goes on.
        """
        with self._session.begin() as session:
            last = session.execute(
                select(TrialSlotRow.outcome, TrialSlotRow.reason)
                .where(
                    TrialSlotRow.study_id == self.study_id,
                    TrialSlotRow.state == WorkState.DONE,
                    TrialSlotRow.outcome != Outcome.CRASHED,
                )
                .order_by(TrialSlotRow.finish_order.desc())
                .limit(FAILURES_IN_A_ROW)
            ).all()
            if len(last) < FAILURES_IN_A_ROW or any(
                outcome != Outcome.FAILED for outcome, _ in last
            ):
                return None
            reason = str(last[0][1])
            set_study_state(
                session,
                self.study_id,
                StudyState.FAILED,
                f"{FAILURES_IN_A_ROW} trials failed in a row; the last:\n{reason}",
                hand_back=True,
            )
            return reason

    def pause(self) -> None:
        """Have running trials handed back, and nothing claimed until the study is reopened."""
        with self._session.begin() as session:
            set_study_state(session, self.study_id, StudyState.PAUSED, "paused", hand_back=True)

    def stop(self, reason: str, hand_back: bool) -> None:
        """Let no more work be claimed; running trials go on to their end or are handed back."""
        with self._session.begin() as session:
            set_study_state(session, self.study_id, StudyState.STOPPED, reason, hand_back)

    def spent(self) -> float:
        """Return the seconds of wall-clock time in which any worker served the study."""
        with self._session() as session:
            query = select(StudyRow.seconds).where(StudyRow.study_id == self.study_id)
            return session.scalar(query) or 0.0

    def tick(self) -> float:
        """Add the time since the last tick of any process to the study's seconds, if one is due.

        Return the seconds so far. A longer gap, in which nobody served the study, is not counted.
        """
        with self._session.begin() as session:
            query = select(spent()).where(StudyRow.study_id == self.study_id)
            seconds = float(session.scalar(query) or 0.0)
            tick(session, self.study_id)  # the last statement: others wait for the row
        return seconds

    def stop_at_limit(self, timeout: float | None) -> bool:
        """Count the study's time, and stop an open study whose `timeout` (s) is used up.

        Return whether it is; running trials are then to be handed back.
        """
        seconds = self.tick()
        if timeout is None or seconds < timeout:
            return False
        reason = f"study.timeout={timeout:g} s is up"
        with self._session.begin() as session:
            session.execute(
                update(StudyRow)
                .where(StudyRow.study_id == self.study_id, StudyRow.state == StudyState.OPEN)
                .values(state=StudyState.STOPPED, stopped=reason, hand_back=True)
            )
        return True

    def rest(self) -> None:
        """Count the study's time, and stop its clock until the next tick."""
        study = StudyRow.study_id == self.study_id
        with self._session.begin() as session:
            session.execute(
                update(StudyRow).where(study).values(seconds=spent(), ticked_at=None),
                execution_options={"synchronize_session": False},
            )


def set_study_state(
    session: Session, study_id: int, state: StudyState, reason: str | None, hand_back: bool
) -> None:
    """Open, pause or stop a study; with `hand_back`, running work is to be handed back."""
    session.execute(
        update(StudyRow)
        .where(StudyRow.study_id == study_id)
        .values(state=state, stopped=reason, hand_back=hand_back)
    )
