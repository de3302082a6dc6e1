"""How trials and auxiliary runs end; how the work of dead workers is reclaimed.

A worker counts as dead when its lease has run out, when its process is gone, or when it reports
itself that it ends. Its work is then released with the death counted (`leasing`), and
`Endings.reclaim` gives it up or leaves it open.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session, sessionmaker

from lrsearch.queue.leasing import Row, key, release
from lrsearch.states import UNFINISHED, Outcome, WorkState
from lrsearch.storage import optuna_bridge
from lrsearch.storage.clock import ticked
from lrsearch.storage.tables import AuxiliaryRunRow, EvaluationRow, StudyRow, TrialSlotRow


@dataclass(frozen=True)
class Ending:
    """How a trial or an auxiliary run ended."""

    outcome: str
    value: float | None = None
    reason: str | None = None
    step: int | None = None
    """Step at which the training diverged or ran out of memory."""
    lr: float | None = None
    """Learning rate at `step`."""
    spared_at: int | None = None
    """Evaluation at which the pruner would have ended a trial that goes on as a check."""
    warning: str | None = None
    """What is doubtful about the training."""


@dataclass(frozen=True)
class Endings:
    """Ends the work of one study; methods with a `session` run in the caller's transaction."""

    study_id: int
    max_attempts: int
    """Number of dead workers after which a trial or auxiliary run is given up."""
    follow_up: Callable[[Session, int], None]
    """Plans the study's next work in the same transaction, after an auxiliary run has ended, or
    the last trial."""

    def end_trial(
        self, session: Session, unit_id: int, ending: Ending, seconds: float | None
    ) -> None:
        """End a trial slot and its trial."""
        trial_id = session.scalar(
            update(TrialSlotRow)
            .where(TrialSlotRow.unit_id == unit_id)
            .values(
                **_done(ending, seconds),
                end_step=ending.step,
                end_lr=ending.lr,
                spared_at=ending.spared_at,
                warning=func.coalesce(ending.warning, TrialSlotRow.warning),
            )
            .returning(TrialSlotRow.trial_id)
        )
        assert trial_id is not None, "a claimed slot has a trial"
        if ending.outcome == Outcome.COMPLETE:
            own_rows = EvaluationRow.trial_id == trial_id
            session.execute(update(EvaluationRow).where(own_rows).values(complete=True))
        shown: dict[str, Any] = {} if seconds is None else {"seconds": round(seconds, 3)}
        last = session.execute(
            select(EvaluationRow.epoch, EvaluationRow.lr_end)
            .where(EvaluationRow.trial_id == trial_id)
            .order_by(EvaluationRow.step.desc())
            .limit(1)
        ).first()
        if last is not None:
            shown |= {"epochs": last.epoch, "final lr": last.lr_end}
        if ending.reason is not None:
            shown["reason"] = ending.reason
        if ending.warning is not None:
            shown["warning"] = ending.warning
        optuna_bridge.end(session, trial_id, ending.outcome, ending.value, shown)
        session.flush()
        # This locks the study's row until the end of the transaction: no two trials get one order.
        # It comes late, since all workers whose trials end meanwhile wait for it.
        order = session.scalar(
            update(StudyRow)
            .where(StudyRow.study_id == self.study_id)
            .values(
                finished=StudyRow.finished + 1,
                trial_seconds=StudyRow.trial_seconds + (seconds or 0.0),
                **ticked(),
            )
            .returning(StudyRow.finished)
        )
        session.execute(
            update(TrialSlotRow).where(TrialSlotRow.unit_id == unit_id).values(finish_order=order)
        )
        left = (TrialSlotRow.study_id == self.study_id) & TrialSlotRow.state.in_(UNFINISHED)
        if session.scalar(select(TrialSlotRow.unit_id).where(left).limit(1)) is None:
            self.follow_up(session, self.study_id)

    def end_auxiliary_run(
        self,
        session: Session,
        run_id: int,
        ending: Ending,
        seconds: float | None,
        **result: Mapping[str, Any],
    ) -> None:
        """End an auxiliary run; without `result` it keeps the one that is stored."""
        session.execute(
            update(AuxiliaryRunRow)
            .where(AuxiliaryRunRow.side_run_id == run_id)
            .values(**_done(ending, seconds), **result)
        )
        # This locks the study's row until the end of the transaction, as at the end of a trial.
        study = StudyRow.study_id == self.study_id
        session.execute(update(StudyRow).where(study).values(ticked()))
        self.follow_up(session, self.study_id)

    def reclaim(
        self, session: Session, row: TrialSlotRow | AuxiliaryRunRow | None, cause: str | None = None
    ) -> None:
        """Give up work at which `max_attempts` workers have died, or leave it open.

        `row` has just been released with the last death counted; None (another worker owns it)
        changes nothing. `cause` says why the last worker ended.
        """
        if row is None:
            return
        if row.deaths < self.max_attempts:
            mark_waiting(session, row)
            return
        reason = f"its workers died or fell silent {row.deaths} times"
        if cause is not None:
            reason += f"; the last: {cause}"
        self._give_up(session, row, Outcome.CRASHED, reason)

    def _give_up(
        self, session: Session, row: TrialSlotRow | AuxiliaryRunRow, outcome: Outcome, reason: str
    ) -> None:
        """End work without a worker; the value of a trial is that of its last evaluation."""
        if isinstance(row, AuxiliaryRunRow):
            ending = Ending(outcome, reason=reason)
            self.end_auxiliary_run(session, row.side_run_id, ending, row.seconds)
            return
        last_value = session.scalar(
            select(EvaluationRow.value)
            .where(EvaluationRow.trial_id == row.trial_id)
            .order_by(EvaluationRow.evaluation.desc())
            .limit(1)
        )
        self.end_trial(session, row.unit_id, Ending(outcome, last_value, reason), row.seconds)

    def reclaim_dead(
        self,
        session_of: sessionmaker[Session],
        is_dead: Callable[[str], bool],
        blame: bool = True,
        cause: str | None = None,
        out_of_memory: bool = False,
    ) -> set[tuple[str, int]]:
        """Reclaim the work of dead owners without waiting until their leases run out.

        Without `blame` no death is counted, as for workers that were killed on purpose. `cause`
        says why they ended. If it was for want of memory, their work ends as infeasible. Returns
        the tables and primary keys of what they had.
        """
        reclaimed: set[tuple[str, int]] = set()
        tables: tuple[type[TrialSlotRow | AuxiliaryRunRow], ...] = (TrialSlotRow, AuxiliaryRunRow)
        for table in tables:
            with session_of() as session:
                running = session.execute(
                    select(key(table), table.owner, table.attempts).where(
                        table.study_id == self.study_id, table.state == WorkState.RUNNING
                    )
                ).all()
            for row_id, owner, attempt in running:
                if owner and is_dead(owner):
                    with session_of.begin() as session:
                        row = release(session, table, row_id, attempt, deaths=int(blame))
                        if row is not None and out_of_memory:
                            reason = cause or "out of memory"
                            self._give_up(session, row, Outcome.OUT_OF_MEMORY, reason)
                        else:
                            self.reclaim(session, row, cause)
                    reclaimed.add((table.__tablename__, row_id))
        return reclaimed


def mark_waiting(session: Session, row: TrialSlotRow | AuxiliaryRunRow) -> None:
    """Show the trial of work that is open again as waiting for a worker."""
    if isinstance(row, TrialSlotRow) and row.trial_id is not None:
        optuna_bridge.set_waiting(session, row.trial_id)


def _done(ending: Ending, seconds: float | None) -> dict[str, Any]:
    """Return the columns of a row, of a trial slot or an auxiliary run, that has ended."""
    return {
        "state": WorkState.DONE,
        "leased_until": None,
        "outcome": ending.outcome,
        "value": ending.value,
        "reason": ending.reason,
        "seconds": seconds,
        "finished_at": func.now(),
    }


def reopen_failed(session_of: sessionmaker[Session], study_id: int) -> int:
    """Reopen failed and crashed work; trials keep their numbers. Return the number of rows."""
    with session_of.begin() as session:
        slots = _reopen_failed(session, TrialSlotRow, study_id)
        for slot in slots:
            slot.finish_order = None
            mark_waiting(session, slot)
        return len(slots) + len(_reopen_failed(session, AuxiliaryRunRow, study_id))


def _reopen_failed(session: Session, table: type[Row], study_id: int) -> Sequence[Row]:
    return session.scalars(
        update(table)
        .where(table.study_id == study_id, table.outcome.in_((Outcome.FAILED, Outcome.CRASHED)))
        .values(
            state=WorkState.OPEN,
            owner=None,
            deaths=0,
            seconds=None,
            outcome=None,
            reason=None,
            value=None,
            finished_at=None,
        )
        .returning(table)
    ).all()
