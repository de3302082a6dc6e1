"""A study's confirmation, read from its auxiliary runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from lrsearch.evaluation import SampleMeans
from lrsearch.measures import has_listed_loss
from lrsearch.settings import MetricSettings
from lrsearch.states import RunKind, WorkState
from lrsearch.storage.tables import AuxiliaryRunRow, StudyRow, TrialSlotRow

if TYPE_CHECKING:
    from lrsearch.confirm.result import Confirmation, WinnerTest

T = TypeVar("T")


def read_confirmation(session: Session, study_id: int) -> Confirmation | None:
    """Read the confirmation of a study; None where it has no runs of one."""
    rows = session.scalars(
        select(AuxiliaryRunRow)
        .where(
            AuxiliaryRunRow.study_id == study_id,
            AuxiliaryRunRow.kind.in_((RunKind.CONFIRM, RunKind.TEST)),
        )
        .order_by(AuxiliaryRunRow.number)
        .execution_options(populate_existing=True)
    ).all()
    runs = [row for row in rows if row.kind == RunKind.CONFIRM]
    if not runs:
        return None
    from lrsearch.confirm.result import Confirmation, Run

    config = session.scalar(select(StudyRow.config).where(StudyRow.study_id == study_id)) or {}
    metric, is_listed = MetricSettings(**config["metric"]), has_listed_loss(config)
    own_slots = TrialSlotRow.study_id == study_id
    trials = {row.trial_number for row in runs}
    values = session.execute(
        select(TrialSlotRow.trial_number, TrialSlotRow.value).where(
            own_slots, TrialSlotRow.trial_number.in_(trials)
        )
    )
    ended = select(func.count()).where(own_slots, TrialSlotRow.state == WorkState.DONE)
    return Confirmation(
        metric=metric.name,
        mode=metric.mode,
        search_values={number or 0: value or 0.0 for number, value in values},
        tried=session.scalar(ended) or 0,
        runs=[
            Run(
                row.trial_number or 0,
                row.seed,
                row.state,
                row.outcome,
                row.value,
                SampleMeans.from_json((row.result or {}).get("samples", {})),
            )
            for row in runs
        ],
        test=_test([row for row in rows if row.kind == RunKind.TEST], is_listed),
        has_listed_loss=is_listed,
    )


def confirmed_first(
    ranked: Sequence[T], number: Callable[[T], int | None], confirmation: Confirmation | None
) -> list[T]:
    """Move the confirmed candidates, in their order, to the front of trials ranked by value.

    Without a confirmed winner, return the trials as they are.
    """
    if confirmation is None or confirmation.winner is None:
        return list(ranked)
    order = {candidate.trial: place for place, candidate in enumerate(confirmation.candidates)}
    return sorted(ranked, key=lambda trial: order.get(number(trial) or 0, len(order)))


def _test(rows: list[AuxiliaryRunRow], has_listed_loss: bool) -> WinnerTest | None:
    """Return the latest test of a winner; None where there is none."""
    from lrsearch.confirm.result import WinnerTest

    if not rows:
        return None
    row = rows[-1]
    result = row.result or {}
    return WinnerTest(
        has_listed_loss=has_listed_loss,
        trial=row.trial_number or 0,
        state=row.state,
        outcome=row.outcome,
        reason=row.reason,
        scores=result.get("scores", []),
        opened=len(rows),
        samples=[
            {name: SampleMeans.from_json(plain) for name, plain in of_run.items()}
            for of_run in result.get("samples", [])
        ],
    )
