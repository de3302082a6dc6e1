"""Progress of a study, read from lrsearch's own tables."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import ColumnElement, case, func, select
from sqlalchemy.orm import Session, sessionmaker

from lrsearch.errors import UserError
from lrsearch.evaluation import Evaluation
from lrsearch.settings import MetricSettings
from lrsearch.states import Outcome, RunKind, WorkState
from lrsearch.storage.evaluations import COLUMNS, from_columns
from lrsearch.storage.tables import AuxiliaryRunRow, EvaluationRow, StudyRow, TrialSlotRow

if TYPE_CHECKING:
    from lrsearch.confirm.result import Confirmation


class Losses(NamedTuple):
    """The losses of one evaluation, and its value of the study's metric."""

    train: float | None
    val: float | None
    value: float | None


MOST_SHOWN = 40
"""Largest number of evaluations of a running trial that are read to draw its losses, roughly."""


@dataclass(frozen=True)
class Running:
    """A running trial; epoch, losses and rate are those of its last evaluation."""

    trial: int | None
    owner: str
    recipe: dict[str, Any] | None
    epoch: float | None
    train_loss: float | None
    val_loss: float | None
    value: float | None
    """Value of the study's metric."""
    lr: float | None
    share: float | None = None
    """Share of its training that is done."""
    curve: tuple[Losses, ...] = ()
    """Its evaluations so far, thinned out evenly where there are many."""
    kind: str | None = None
    """The `RunKind` of an auxiliary run; None of a trial."""

    @property
    def whole(self) -> float | None:
        """Epochs of its whole training; None where they are not known yet."""
        if self.epoch is None or not self.share:
            return None
        return self.epoch / self.share

    @classmethod
    def of(cls, slot: TrialSlotRow, evaluations: Sequence[Evaluation]) -> Running:
        """Return a running trial from its row and its evaluations."""
        last = evaluations[-1] if evaluations else None
        return cls(
            trial=slot.trial_number,
            owner=slot.owner or "",
            recipe=slot.recipe,
            epoch=None if last is None else last.epoch,
            train_loss=None if last is None else last.train_loss,
            val_loss=None if last is None else last.val_loss,
            value=None if last is None else last.value,
            lr=None if last is None else last.lr_end[0],
            share=None if last is None else last.progress,
            curve=tuple(
                Losses(evaluation.train_loss, evaluation.val_loss, evaluation.value)
                for evaluation in evaluations
            ),
        )


@dataclass(frozen=True)
class Finished:
    """A trial that has ended."""

    order: int
    """Position among the study's trials in the order of their ends, from 1."""
    trial: int | None
    trial_id: int | None
    seed: int
    outcome: str
    value: float | None
    reason: str | None
    seconds: float | None
    recipe: dict[str, Any] | None
    device: str | None
    weights: str | None = None
    """Path or URL of its weights, where they are kept."""
    share: float | None = None
    """Share of its training that was done; None where it has no evaluation."""
    trained: float | None = None
    """Seconds until its last evaluation: those that it trained and evaluated."""


@dataclass(frozen=True)
class AuxiliaryRun:
    """An auxiliary run: one outside the budget of trials."""

    kind: str
    number: int
    trial: int | None
    """Number of the trial whose recipe it trains again."""
    seed: int
    state: str
    owner: str | None
    outcome: str | None
    value: float | None
    reason: str | None
    recipe: dict[str, Any] | None
    seconds: float | None
    result: dict[str, Any] | None
    """Result so far of a running one; None of the others, whose results are not read."""

    def as_running(self) -> Running:
        """Return it in the form of a running trial."""
        points = (self.result or {}).get("curve") or []
        last = points[-1] if points else {}
        return Running(
            trial=self.trial,
            owner=self.owner or "",
            recipe=self.recipe,
            epoch=last.get("epoch"),
            train_loss=last.get("train_loss"),
            val_loss=last.get("val_loss"),
            value=last.get("value"),
            lr=last.get("lr"),
            share=last.get("progress"),
            curve=tuple(
                Losses(point.get("train_loss"), point.get("val_loss"), point.get("value"))
                for point in points
            ),
            kind=self.kind,
        )


@dataclass(frozen=True)
class Snapshot:
    """State of a study at one moment."""

    total: int
    running: list[Running]
    state: str
    """State of the study: open, paused, stopped, or failed."""
    stopped: str | None
    """Why the study is not open; None while it is."""
    hand_back: bool
    """Whether running trials are to be handed back."""
    auxiliary_runs: list[AuxiliaryRun] = field(default_factory=list)
    metric: str = MetricSettings.name
    """Name of the study's metric."""
    waiting_jobs: int = 0
    """Number of jobs of this process's launcher that wait for a machine."""
    starting: int = 0
    """Number of worker processes of this command that have not claimed any work yet."""

    @property
    def auxiliary_running(self) -> list[Running]:
        """The running auxiliary runs, without the range test."""
        return [
            run.as_running()
            for run in self.auxiliary_runs
            if run.state == WorkState.RUNNING and run.kind != RunKind.RANGE_TEST
        ]

    @property
    def range_test(self) -> AuxiliaryRun | None:
        """The range test until it is done: trials wait for it."""
        tests = (
            run
            for run in self.auxiliary_runs
            if run.kind == RunKind.RANGE_TEST and run.state != WorkState.DONE
        )
        return next(tests, None)

    @property
    def auxiliary_done(self) -> int:
        """Number of auxiliary runs that have ended."""
        return sum(run.state == WorkState.DONE for run in self.auxiliary_runs)

    @property
    def owners(self) -> list[str]:
        """Names of the workers that run a trial or an auxiliary run."""
        auxiliary = [
            run.owner or "" for run in self.auxiliary_runs if run.state == WorkState.RUNNING
        ]
        return [*(trial.owner for trial in self.running), *auxiliary]


class Progress:
    """Reads a study's progress; each method runs a few small queries."""

    def __init__(self, session: sessionmaker[Session], study_id: int) -> None:
        self._session = session
        self._study_id = study_id

    def snapshot(self) -> Snapshot:
        """Return the study's state, its number of trials, and what runs with its progress.

        Raises UserError where the study has been deleted.
        """
        with self._session() as session:
            study = session.execute(
                select(
                    StudyRow.state,
                    StudyRow.stopped,
                    StudyRow.hand_back,
                    StudyRow.config[("metric", "name")].as_string(),
                ).where(StudyRow.study_id == self._study_id)
            ).first()
            if study is None:
                raise UserError("the study was deleted meanwhile, and nothing of it is left to do")
            state, stopped, hand_back, metric = study
            total = session.scalar(
                select(func.count()).where(TrialSlotRow.study_id == self._study_id)
            )
            slots = session.scalars(
                select(TrialSlotRow)
                .where(
                    TrialSlotRow.study_id == self._study_id, TrialSlotRow.state == WorkState.RUNNING
                )
                .order_by(TrialSlotRow.number)
            ).all()
            evaluations = self._evaluations_of_running(session) if slots else {}
        running = [Running.of(slot, evaluations.get(slot.trial_id or -1, ())) for slot in slots]
        auxiliary = self.auxiliary_runs()
        return Snapshot(total or 0, running, state, stopped, hand_back, auxiliary, metric)

    def _evaluations_of_running(self, session: Session) -> dict[int, list[Evaluation]]:
        """Return the evaluations of the running trials by trial id.

        Of many, about MOST_SHOWN of each trial, evenly spaced, with the last one.
        """
        last = (
            select(EvaluationRow.trial_id, func.max(EvaluationRow.evaluation).label("evaluation"))
            .join(TrialSlotRow, TrialSlotRow.trial_id == EvaluationRow.trial_id)
            .where(TrialSlotRow.study_id == self._study_id, TrialSlotRow.state == WorkState.RUNNING)
            .group_by(EvaluationRow.trial_id)
            .subquery()
        )
        every = last.c.evaluation // MOST_SHOWN + 1
        rows = session.execute(
            select(*COLUMNS[:-1])
            .join(last, last.c.trial_id == EvaluationRow.trial_id)
            .where((last.c.evaluation - EvaluationRow.evaluation) % every == 0)
            .order_by(EvaluationRow.trial_id, EvaluationRow.evaluation)
        )
        evaluations = defaultdict(list)
        for trial_id, *columns in rows:
            evaluations[trial_id].append(from_columns(*columns))
        return evaluations

    def auxiliary_runs(self) -> list[AuxiliaryRun]:
        """Return the auxiliary runs in the order in which they were added."""
        row = AuxiliaryRunRow
        is_running = case((row.state == WorkState.RUNNING, row.result), else_=None)
        with self._session() as session:
            return [
                AuxiliaryRun(*columns)
                for columns in session.execute(
                    select(
                        row.kind, row.number, row.trial_number, row.seed, row.state, row.owner,
                        row.outcome, row.value, row.reason, row.recipe, row.seconds, is_running,
                    )
                    .where(row.study_id == self._study_id)
                    .order_by(row.side_run_id)
                )
            ]  # fmt: skip

    def finished(self, after: int = 0) -> list[Finished]:
        """Return ended trials in the order of their ends, from order `after` + 1 on."""
        return self._ended(TrialSlotRow.finish_order > after)

    def ended(self, trial: int) -> Finished | None:
        """Return an ended trial by its number; None where there is none."""
        return next(iter(self._ended(TrialSlotRow.trial_number == trial)), None)

    def count_ended(self) -> int:
        """Return the number of trials that have ended."""
        ended = (TrialSlotRow.study_id == self._study_id) & (TrialSlotRow.state == WorkState.DONE)
        with self._session() as session:
            return session.scalar(select(func.count()).where(ended)) or 0

    def _ended(self, which: ColumnElement[bool]) -> list[Finished]:
        columns = TrialSlotRow.__table__.columns
        share = (
            select(EvaluationRow.progress)
            .where(EvaluationRow.trial_id == TrialSlotRow.trial_id)
            .order_by(EvaluationRow.step.desc())
            .limit(1)
            .scalar_subquery()
        )
        trained = (
            select(func.sum(EvaluationRow.seconds))
            .where(EvaluationRow.trial_id == TrialSlotRow.trial_id)
            .scalar_subquery()
        )
        with self._session() as session:
            rows = session.execute(
                select(*columns, share.label("share"), trained.label("trained"))
                .where(
                    TrialSlotRow.study_id == self._study_id,
                    TrialSlotRow.state == WorkState.DONE,
                    which,
                )
                .order_by(TrialSlotRow.finish_order, TrialSlotRow.unit_id)
            ).all()
        return [
            Finished(
                order=row.finish_order or 0,
                trial=row.trial_number,
                trial_id=row.trial_id,
                seed=row.seed,
                outcome=row.outcome or "",
                value=row.value,
                reason=row.reason,
                seconds=row.seconds,
                recipe=row.recipe,
                device=row.device,
                weights=row.weights,
                share=row.share,
                trained=row.trained,
            )
            for row in rows
        ]

    def best(self, count: int, mode: str) -> list[tuple[int, float]]:
        """Return numbers and values of the best complete trials, the best first."""
        order = TrialSlotRow.value if mode == "min" else TrialSlotRow.value.desc()
        with self._session() as session:
            rows = session.execute(
                select(TrialSlotRow.trial_number, TrialSlotRow.value)
                .where(
                    TrialSlotRow.study_id == self._study_id,
                    TrialSlotRow.outcome == Outcome.COMPLETE,
                    TrialSlotRow.value.is_not(None),
                )
                .order_by(order, TrialSlotRow.finish_order, TrialSlotRow.unit_id)
                .limit(count)
            )
            return [(number or 0, value or 0.0) for number, value in rows]


def ranked(finished: list[Finished], mode: str) -> list[Finished]:
    """Return the complete trials, the best first."""
    complete = [
        trial for trial in finished if trial.outcome == Outcome.COMPLETE and trial.value is not None
    ]
    return sorted(complete, key=lambda trial: trial.value or 0.0, reverse=mode == "max")


def best_number(progress: Progress, mode: str, confirmation: Confirmation | None) -> int | None:
    """Return the number of the confirmed winner, else of the search's best; None without any."""
    if confirmation is not None and confirmation.winner is not None:
        return confirmation.winner.trial
    return next((number for number, _ in progress.best(1, mode)), None)
