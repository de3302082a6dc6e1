"""How units and side runs end; how those whose workers died or failed are opened again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session, sessionmaker

from lrsearch.confirm.runs import advance
from lrsearch.queue.leasing import Row, key, release
from lrsearch.range_test.stored import stop_without_ranges
from lrsearch.states import Outcome, WorkState
from lrsearch.storage import optuna_bridge
from lrsearch.storage.clock import ticked
from lrsearch.storage.tables import EvaluationRow, SideRunRow, StudyRow, UnitRow


@dataclass(frozen=True)
class Ending:
    """How a unit ended."""

    outcome: str
    value: float | None = None
    reason: str | None = None
    step: int | None = None
    lr: float | None = None
    spared_at: int | None = None
    """The evaluation at which it should have been pruned."""


def end(
    session: Session, study_id: int, unit_id: int, outcome: Ending, seconds: float | None
) -> None:
    """The unit is done, and so is its trial."""
    # The study's row is locked until the end of the transaction: no order is given twice.
    order = session.scalar(
        update(StudyRow)
        .where(StudyRow.study_id == study_id)
        .values(finished=StudyRow.finished + 1, **ticked())
        .returning(StudyRow.finished)
    )
    trial_id = session.scalar(
        update(UnitRow)
        .where(UnitRow.unit_id == unit_id)
        .values(
            state=WorkState.DONE,
            leased_until=None,
            outcome=outcome.outcome,
            value=outcome.value,
            reason=outcome.reason,
            end_step=outcome.step,
            end_lr=outcome.lr,
            spared_at=outcome.spared_at,
            seconds=seconds,
            finish_order=order,
            finished_at=func.now(),
        )
        .returning(UnitRow.trial_id)
    )
    assert trial_id is not None, "a claimed unit has a trial"
    if outcome.outcome == Outcome.COMPLETE:
        session.execute(
            update(EvaluationRow).where(EvaluationRow.trial_id == trial_id).values(complete=True)
        )
    shown: dict[str, Any] = {} if seconds is None else {"seconds": round(seconds, 3)}
    last = session.execute(
        select(EvaluationRow.epoch, EvaluationRow.lr_end)
        .where(EvaluationRow.trial_id == trial_id)
        .order_by(EvaluationRow.step.desc())
        .limit(1)
    ).first()
    if last is not None:
        shown |= {"epochs": last.epoch, "final lr": last.lr_end}
    if outcome.reason is not None:
        shown["reason"] = outcome.reason
    optuna_bridge.end(session, trial_id, outcome.outcome, outcome.value, shown)
    advance(session, study_id)


def end_side_run(
    session: Session,
    study_id: int,
    side_run_id: int,
    outcome: Ending,
    seconds: float | None,
    **found: Mapping[str, Any],
) -> None:
    """The side run is done; without `result` it keeps the one it has."""
    # The study's row is locked until the end of the transaction, as at the end of a unit.
    session.execute(update(StudyRow).where(StudyRow.study_id == study_id).values(ticked()))
    session.execute(
        update(SideRunRow)
        .where(SideRunRow.side_run_id == side_run_id)
        .values(
            state=WorkState.DONE,
            leased_until=None,
            outcome=outcome.outcome,
            value=outcome.value,
            reason=outcome.reason,
            seconds=seconds,
            finished_at=func.now(),
            **found,
        )
    )
    stop_without_ranges(session, study_id)
    advance(session, study_id)


def crash(session: Session, row: UnitRow | SideRunRow, cause: str | None = None) -> None:
    """Ends a unit or a side run that has ended its workers, with what is known of it.

    `cause` is what ended the last one.
    """
    reason = f"its workers died or fell silent {row.deaths} times"
    if cause is not None:
        reason += f"; the last: {cause}"
    if isinstance(row, SideRunRow):
        crashed = Ending(Outcome.CRASHED, reason=reason)
        end_side_run(session, row.study_id, row.side_run_id, crashed, None)
        return
    last = session.scalar(
        select(EvaluationRow.value)
        .where(EvaluationRow.trial_id == row.trial_id)
        .order_by(EvaluationRow.evaluation.desc())
        .limit(1)
    )
    end(session, row.study_id, row.unit_id, Ending(Outcome.CRASHED, last, reason), None)


def bury(
    session_of: sessionmaker[Session],
    study_id: int,
    is_dead: Callable[[str], bool],
    max_attempts: int,
    blame: bool = True,
    cause: str | None = None,
) -> None:
    """Opens the work of owners that are known to be dead, without waiting for their leases.

    Without `blame` it had no part in it: the workers were stopped. `cause` is what ended them.
    """
    tables: tuple[type[UnitRow | SideRunRow], ...] = (UnitRow, SideRunRow)
    for table in tables:
        with session_of() as session:
            running = session.execute(
                select(key(table), table.owner, table.attempts).where(
                    table.study_id == study_id, table.state == WorkState.RUNNING
                )
            ).all()
        for row_id, _, attempt in [one for one in running if one[1] and is_dead(one[1])]:
            with session_of.begin() as session:
                open_again(session, table, row_id, attempt, max_attempts, blame, cause)


def open_again(
    session: Session,
    table: type[Row],
    row_id: int,
    attempt: int,
    max_attempts: int,
    blame: bool = True,
    cause: str | None = None,
) -> None:
    """Open work whose owner is dead, or end it where it has ended too many.

    Nothing changes where another has it: each death is counted once.
    """
    row = release(session, table, row_id, attempt, deaths=int(blame))
    if row is None:
        return
    if row.deaths >= max_attempts:
        crash(session, row, cause)
    elif isinstance(row, UnitRow) and row.trial_id is not None:
        optuna_bridge.set_waiting(session, row.trial_id)


def reopen_failed(session_of: sessionmaker[Session], study_id: int) -> int:
    """Opens what failed or crashed, trials under their own numbers; how many."""
    with session_of.begin() as session:
        units = _reopen_failed(session, UnitRow, study_id)
        for unit in units:
            unit.finish_order = None
            if unit.trial_id is not None:
                optuna_bridge.set_waiting(session, unit.trial_id)
        return len(units) + len(_reopen_failed(session, SideRunRow, study_id))


def _reopen_failed(session: Session, table: type[Row], study_id: int) -> Sequence[Row]:
    return session.scalars(
        update(table)
        .where(table.study_id == study_id, table.outcome.in_((Outcome.FAILED, Outcome.CRASHED)))
        .values(
            state=WorkState.OPEN,
            owner=None,
            deaths=0,
            outcome=None,
            reason=None,
            value=None,
            finished_at=None,
        )
        .returning(table)
    ).all()
