"""Plan the runs that confirm the best trials of a search, then the winner's test.

`advance` is called in each transaction that ends a trial or an auxiliary run, or opens a study
again. So each step is taken exactly once, whichever worker dies.
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, delete, func, select, update
from sqlalchemy.orm import Session

from lrsearch.confirm.read import read_confirmation
from lrsearch.settings import ConfirmSettings, MetricSettings
from lrsearch.states import Outcome, RunKind, StudyState, WorkState
from lrsearch.storage.tables import LOCK, AuxiliaryRunRow, StudyRow, TrialSlotRow


def advance(session: Session, study_id: int) -> None:
    """Add the runs that the study needs next, and drop those that it no longer needs.

    Does nothing while trials are left, or the study is not open.
    """
    # Lock the study until the end of the transaction, so that no run is added twice.
    study = session.scalars(
        select(StudyRow)
        .where(StudyRow.study_id == study_id)
        .with_for_update(**LOCK)
        .execution_options(populate_existing=True)
    ).one()
    slots = select(func.count()).where(TrialSlotRow.study_id == study_id)
    left = session.scalar(slots.where(TrialSlotRow.state != WorkState.DONE))
    if study.state != StudyState.OPEN or left or not session.scalar(slots):
        return
    wanted = study.config.get("confirm")
    if wanted is None:
        session.execute(delete(AuxiliaryRunRow).where(_untouched(study_id)))
        return
    _plan_runs(session, study, ConfirmSettings(**wanted))
    _drop_hopeless(session, study_id)
    _plan_test(session, study)


def _untouched(study_id: int) -> ColumnElement[bool]:
    """Return the condition for confirmation runs that no worker has begun."""
    own_runs = (AuxiliaryRunRow.study_id == study_id) & (AuxiliaryRunRow.kind == RunKind.CONFIRM)
    return own_runs & (AuxiliaryRunRow.attempts == 0)


def _plan_runs(session: Session, study: StudyRow, wanted: ConfirmSettings) -> None:
    """Add the missing runs in the order of their seeds.

    So every candidate has a first value before any has a second, and those that are clearly worse
    can be dropped.
    """
    from lrsearch.confirm.plan import SearchTrial, candidates, fresh_seeds

    complete = session.execute(
        select(TrialSlotRow.trial_number, TrialSlotRow.value, TrialSlotRow.recipe).where(
            TrialSlotRow.study_id == study.study_id,
            TrialSlotRow.outcome == Outcome.COMPLETE,
            TrialSlotRow.value.is_not(None),
        )
    )
    trials = [
        SearchTrial(trial or 0, value or 0.0, recipe or {}) for trial, value, recipe in complete
    ]
    mode = MetricSettings(**study.config["metric"]).mode
    runs = _runs_of(session, study.study_id, RunKind.CONFIRM)
    planned = {(run.trial_number, run.seed) for run in runs}
    number = max((run.number for run in runs), default=-1)
    for seed in fresh_seeds(study.config["study"]["seed"], wanted.seeds):
        for candidate in candidates(trials, wanted.top, mode):
            if (candidate.trial, seed) in planned:
                continue
            number += 1
            session.add(
                AuxiliaryRunRow(
                    study_id=study.study_id,
                    kind=RunKind.CONFIRM,
                    number=number,
                    trial_number=candidate.trial,
                    recipe=dict(candidate.recipe),
                    seed=seed,
                )
            )
            session.flush()  # one at a time: runs are claimed in the order of their ids


def _drop_hopeless(session: Session, study_id: int) -> None:
    """Drop the unbegun runs of hopeless candidates, and reopen dropped ones of all others."""
    untouched = _untouched(study_id)
    if session.scalar(select(AuxiliaryRunRow.side_run_id).where(untouched).limit(1)) is None:
        return
    confirmation = read_confirmation(session, study_id)
    hopeless = AuxiliaryRunRow.trial_number.in_(
        confirmation.hopeless if confirmation is not None else ()
    )
    # The condition is checked by the UPDATE itself: another worker may be claiming a run now.
    for which, before, after, outcome in (
        (hopeless, WorkState.OPEN, WorkState.DONE, Outcome.DROPPED),
        (~hopeless, WorkState.DONE, WorkState.OPEN, None),
    ):
        session.execute(
            update(AuxiliaryRunRow)
            .where(untouched, which, AuxiliaryRunRow.state == before)
            .values(state=after, outcome=outcome)
        )


def _plan_test(session: Session, study: StudyRow) -> None:
    """Add the test of the confirmed winner, if the data has a test part."""
    confirmation = read_confirmation(session, study.study_id)
    winner = None if confirmation is None else confirmation.winner
    if winner is None or not (study.record.get("data") or {}).get("n_test"):
        return
    winner_runs = [
        run
        for run in _runs_of(session, study.study_id, RunKind.CONFIRM)
        if run.trial_number == winner.trial and run.outcome == Outcome.COMPLETE
    ]
    numbers = [run.number for run in winner_runs]
    earlier = _runs_of(session, study.study_id, RunKind.TEST)
    if earlier and (earlier[-1].result or {}).get("runs") == numbers:
        return
    session.add(
        AuxiliaryRunRow(
            study_id=study.study_id,
            kind=RunKind.TEST,
            number=len(earlier),
            trial_number=winner.trial,
            recipe=winner_runs[0].recipe,
            seed=winner_runs[0].seed,
            result={"runs": numbers},
        )
    )
    session.flush()


def _runs_of(session: Session, study_id: int, kind: str) -> list[AuxiliaryRunRow]:
    return list(
        session.scalars(
            select(AuxiliaryRunRow)
            .where(AuxiliaryRunRow.study_id == study_id, AuxiliaryRunRow.kind == kind)
            .order_by(AuxiliaryRunRow.number)
        )
    )
