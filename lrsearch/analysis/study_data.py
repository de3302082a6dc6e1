"""A study with its trials and curves, read at once for whoever looks at it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from lrsearch.config.settings import ConfirmSettings, MetricSettings
from lrsearch.confirm.result import Confirmation
from lrsearch.errors import UserError
from lrsearch.recipe import Recipe
from lrsearch.study.confirmed import confirmed_first, read_confirmation
from lrsearch.study.database import Database
from lrsearch.study.study import load_row
from lrsearch.study.tables import COMPLETE, DONE, EpochRow, UnitRow


@dataclass(frozen=True)
class Point:
    """One evaluation of a trial, as in `lrsearch_epochs`."""

    evaluation: int
    epoch: float
    step: int
    value: float | None
    train_loss: float | None
    val_loss: float | None
    lr_start: float
    lr_end: float
    grad_norm: float | None
    seconds: float
    metrics: Mapping[str, Any]


@dataclass(frozen=True)
class TrialData:
    """A unit that somebody has begun, with its trial."""

    number: int
    """As in the dashboard."""
    trial_id: int
    unit: int
    seed: int
    state: str
    """Of the unit: open (handed back), running or done."""
    outcome: str | None
    """How it ended; None while it has not."""
    value: float | None
    reason: str | None
    end_step: int | None
    end_lr: float | None
    seconds: float | None
    owner: str | None
    device: str | None
    attempts: int
    deaths: int
    order: int | None
    """Counts the trials in the order in which they finished, from 1."""
    finished_at: datetime | None
    recipe: Recipe | None
    """None where it ended before there was one."""
    curve: tuple[Point, ...]
    spared_at: int | None = None
    """The evaluation at which it should have been pruned, but was let go on as a check."""

    @property
    def is_complete(self) -> bool:
        """Whether it ran to its end: only such a trial can be best."""
        return self.outcome == COMPLETE and self.value is not None


@dataclass(frozen=True)
class StudyData:
    """A study at a moment. `trials` are in the order of their numbers."""

    study_id: int
    name: str
    state: str
    stopped: str | None
    config: Mapping[str, Any]
    record: Mapping[str, Any]
    seconds: float
    """Wall clock spent."""
    total: int
    trials: tuple[TrialData, ...]
    confirmation: Confirmation | None = None
    """None where nothing was to be confirmed."""

    @property
    def metric(self) -> MetricSettings:
        """What was optimised."""
        return MetricSettings(**self.config["metric"])

    @property
    def confirm(self) -> ConfirmSettings | None:
        """What is to be confirmed once the search has ended."""
        stored = self.config.get("confirm")
        return None if stored is None else ConfirmSettings(**stored)

    @cached_property
    def ranked(self) -> tuple[TrialData, ...]:
        """The complete trials, the best first: those that were confirmed, then by value."""
        return tuple(confirmed_first(self.by_value, lambda trial: trial.number, self.confirmation))

    @cached_property
    def by_value(self) -> tuple[TrialData, ...]:
        """The complete trials, the best value of the search first."""
        sign = 1.0 if self.metric.mode == "min" else -1.0
        complete = [trial for trial in self.trials if trial.is_complete]
        return tuple(sorted(complete, key=lambda trial: sign * (trial.value or 0.0)))

    @property
    def done(self) -> int:
        """How many trials have ended."""
        return sum(trial.state == DONE for trial in self.trials)

    @property
    def shown_state(self) -> str:
        """As people and programs are told: all of a study that is done has ended."""
        left = self.confirmation is not None and self.confirmation.work_left
        return DONE if self.done == self.total and not left else self.state

    def trial(self, number: int) -> TrialData:
        """A trial by its number. Raises UserError naming the valid ones."""
        for trial in self.trials:
            if trial.number == number:
                return trial
        numbers = f"0 to {self.trials[-1].number}" if self.trials else "none yet"
        raise UserError(f"{self.name} has no trial {number}; there: {numbers}")


def read_study(database: Database, name: str, curves: bool = True) -> StudyData:
    """Reads a study; without `curves` they are empty. Raises UserError listing those there are."""
    row = load_row(database, name)
    with database.session() as session:
        units = session.scalars(
            select(UnitRow).where(UnitRow.study_id == row.study_id).order_by(UnitRow.trial_number)
        ).all()
        points = _curves(session, row.study_id) if curves else {}
        return StudyData(
            study_id=row.study_id,
            name=row.name,
            state=row.state,
            stopped=row.stopped,
            config=row.config,
            record=row.record,
            seconds=row.seconds,
            total=len(units),
            trials=tuple(_trial(unit, points) for unit in units if unit.trial_id is not None),
            confirmation=read_confirmation(session, row.study_id),
        )


def _curves(session: Session, study_id: int) -> dict[int, list[Point]]:
    rows = session.execute(
        select(
            EpochRow.trial_id,
            EpochRow.evaluation,
            EpochRow.epoch,
            EpochRow.step,
            EpochRow.value,
            EpochRow.train_loss,
            EpochRow.val_loss,
            EpochRow.lr_start,
            EpochRow.lr_end,
            EpochRow.grad_norm,
            EpochRow.seconds,
            EpochRow.metrics,
        )
        .where(EpochRow.study_id == study_id)
        .order_by(EpochRow.trial_id, EpochRow.evaluation)
    )
    curves: dict[int, list[Point]] = defaultdict(list)
    for trial_id, *values in rows:
        curves[trial_id].append(Point(*values))
    return curves


def _trial(unit: UnitRow, points: Mapping[int, list[Point]]) -> TrialData:
    assert unit.trial_id is not None
    assert unit.trial_number is not None
    return TrialData(
        number=unit.trial_number,
        trial_id=unit.trial_id,
        unit=unit.number,
        seed=unit.seed,
        state=unit.state,
        outcome=unit.outcome,
        value=unit.value,
        reason=unit.reason,
        end_step=unit.end_step,
        end_lr=unit.end_lr,
        seconds=unit.seconds,
        owner=unit.owner,
        device=unit.device,
        attempts=unit.attempts,
        deaths=unit.deaths,
        order=unit.finish_order,
        finished_at=unit.finished_at,
        recipe=None if unit.recipe is None else Recipe.from_dict(unit.recipe),
        curve=tuple(points.get(unit.trial_id, ())),
        spared_at=unit.spared_at,
    )
