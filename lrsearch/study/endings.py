"""How units end, and how those whose workers died or failed are opened again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session, sessionmaker

from lrsearch.study import trials
from lrsearch.study.clock import ticked
from lrsearch.study.tables import (
    COMPLETE,
    CRASHED,
    DONE,
    FAILED,
    OPEN,
    RUNNING,
    EpochRow,
    StudyRow,
    UnitRow,
)


@dataclass(frozen=True)
class Outcome:
    """How a unit ended."""

    outcome: str
    value: float | None = None
    reason: str | None = None
    step: int | None = None
    lr: float | None = None


def end(
    session: Session, study_id: int, unit_id: int, outcome: Outcome, seconds: float | None
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
            state=DONE,
            leased_until=None,
            outcome=outcome.outcome,
            value=outcome.value,
            reason=outcome.reason,
            end_step=outcome.step,
            end_lr=outcome.lr,
            seconds=seconds,
            finish_order=order,
            finished_at=func.now(),
        )
        .returning(UnitRow.trial_id)
    )
    assert trial_id is not None, "a claimed unit has a trial"
    if outcome.outcome == COMPLETE:
        session.execute(update(EpochRow).where(EpochRow.trial_id == trial_id).values(complete=True))
    shown: dict[str, Any] = {} if seconds is None else {"seconds": round(seconds, 3)}
    last = session.execute(
        select(EpochRow.epoch, EpochRow.lr_end)
        .where(EpochRow.trial_id == trial_id)
        .order_by(EpochRow.step.desc())
        .limit(1)
    ).first()
    if last is not None:
        shown |= {"epochs": last.epoch, "final lr": last.lr_end}
    if outcome.reason is not None:
        shown["reason"] = outcome.reason
    trials.end(session, trial_id, outcome.outcome, outcome.value, shown)


def crash(session: Session, study_id: int, unit_id: int) -> None:
    """Ends a unit that has ended its workers, with what is known of it."""
    unit = session.get_one(UnitRow, unit_id)
    last = session.scalar(
        select(EpochRow.value)
        .where(EpochRow.trial_id == unit.trial_id)
        .order_by(EpochRow.evaluation.desc())
        .limit(1)
    )
    reason = f"its workers died or fell silent {unit.deaths} times"
    end(session, study_id, unit_id, Outcome(CRASHED, last, reason), None)


def bury(
    session_of: sessionmaker[Session],
    study_id: int,
    is_dead: Callable[[str], bool],
    max_attempts: int,
    blame: bool = True,
) -> None:
    """Opens the units of owners that are known to be dead, without waiting for their leases.

    Without `blame` the units had no part in it: the workers were stopped.
    """
    with session_of() as session:
        running = session.scalars(
            select(UnitRow).where(UnitRow.study_id == study_id, UnitRow.state == RUNNING)
        ).all()
    for dead in [row for row in running if row.owner is not None and is_dead(row.owner)]:
        with session_of.begin() as session:
            row = session.execute(
                update(UnitRow)
                .where(
                    UnitRow.unit_id == dead.unit_id,
                    UnitRow.attempts == dead.attempts,
                    UnitRow.state == RUNNING,
                )
                .values(
                    state=OPEN, owner=None, leased_until=None, deaths=UnitRow.deaths + int(blame)
                )
                .returning(UnitRow.trial_id, UnitRow.deaths)
            ).first()
            if row is None or row.trial_id is None:
                continue
            if row.deaths >= max_attempts:
                crash(session, study_id, dead.unit_id)
            else:
                trials.set_state(session, row.trial_id, "waiting")


def reopen_failed(session_of: sessionmaker[Session], study_id: int) -> int:
    """Opens the units that failed or crashed, under their own trial numbers; how many."""
    with session_of.begin() as session:
        rows = session.execute(
            update(UnitRow)
            .where(UnitRow.study_id == study_id, UnitRow.outcome.in_((FAILED, CRASHED)))
            .values(
                state=OPEN,
                owner=None,
                deaths=0,
                outcome=None,
                reason=None,
                value=None,
                finish_order=None,
                finished_at=None,
            )
            .returning(UnitRow.trial_id)
        ).all()
        for (trial_id,) in rows:
            if trial_id is not None:
                trials.set_state(session, trial_id, "waiting")
        return len(rows)
