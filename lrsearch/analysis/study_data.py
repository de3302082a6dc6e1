"""A study with its trials and evaluations, read in one pass for every view."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, and_, case, func, or_, select
from sqlalchemy.orm import Session

from lrsearch.config.load import stored_settings
from lrsearch.confirm.read import confirmed_first, read_confirmation
from lrsearch.confirm.result import Confirmation
from lrsearch.errors import UserError
from lrsearch.evaluation import Evaluation
from lrsearch.recipe import Recipe
from lrsearch.registry import ComponentConfig
from lrsearch.settings import ConfirmSettings, MetricSettings
from lrsearch.states import Outcome, WorkState
from lrsearch.storage.database import Database
from lrsearch.storage.evaluations import COLUMNS, read_evaluations
from lrsearch.storage.tables import EvaluationRow, StudyRow, TrialSlotRow
from lrsearch.study.index import study_row
from lrsearch.tuning.forecast import EARLIER
from lrsearch.tuning.samplers import is_adaptive

MOST_CURVES = 500
"""The most trials whose curves are read for figures."""
MOST_POINTS = 30_000
"""The most evaluations that are read for figures; of longer curves every second one, or third."""
WHOLE_CURVES = 10
"""Number of best trials that keep every evaluation, since their learning rates are drawn."""
_NO_EVALUATIONS: Mapping[int, list[Evaluation]] = {}
_BATCH = 200


@dataclass(frozen=True)
class TrialData:
    """A trial that has begun, with its place in the plan."""

    number: int
    """Number of the trial, as in the dashboard."""
    trial_id: int
    unit: int
    """Number of its slot in the plan; -1, -2, ... for settings that were tried by hand."""
    seed: int
    state: str
    """State of the trial slot: open (handed back), running or done."""
    outcome: str | None
    """How the trial ended; None while it has not."""
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
    """Position among the finished trials, from 1."""
    finished_at: datetime | None
    recipe: Recipe | None
    """None where the trial ended before it had one."""
    curve: tuple[Evaluation, ...]
    spared_at: int | None = None
    """Evaluation at which the pruner would have ended a trial that goes on as a check."""
    weights: str | None = None
    """Path or URL of its weights, where they are kept."""
    warning: str | None = None
    """What is doubtful about its training, such as learning rates that are not its recipe's."""

    @property
    def is_complete(self) -> bool:
        """Whether it ran to its end: only such a trial can be best."""
        return self.outcome == Outcome.COMPLETE and self.value is not None


@dataclass(frozen=True)
class StudyData:
    """Snapshot of a study. `trials` are in the order of their numbers."""

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
    """None where no confirmation was configured."""

    @property
    def metric(self) -> MetricSettings:
        """The metric that is optimised."""
        return MetricSettings(**self.config["metric"])

    @property
    def adaptive_sampler(self) -> str | None:
        """The sampler, if it chose trials by the values of earlier ones; else None."""
        config = ComponentConfig.from_dict(self.config["sampler"])
        return config.name if is_adaptive(config) else None

    @property
    def confirm(self) -> ConfirmSettings | None:
        """Settings of the confirmation after the search; None without one."""
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

    @cached_property
    def searched(self) -> frozenset[str]:
        """The names of all parameters that are searched, as in `Space.searched`.

        It is empty where this version cannot read the settings.
        """
        try:
            return stored_settings(self.config).space.searched
        except UserError:
            return frozenset()

    @property
    def done(self) -> int:
        """How many trials have ended."""
        return sum(trial.state == WorkState.DONE for trial in self.trials)

    @property
    def shown_state(self) -> str:
        """State to show: `done` once all trials and the confirmation have ended."""
        left = self.confirmation is not None and self.confirmation.work_left
        return WorkState.DONE if self.done == self.total and not left else self.state

    def trial(self, number: int) -> TrialData:
        """Return a trial by its number. Raises UserError naming the valid ones."""
        for trial in self.trials:
            if trial.number == number:
                return trial
        numbers = f"0 to {self.trials[-1].number}" if self.trials else "none yet"
        raise UserError(f"{self.name} has no trial {number}; there: {numbers}")


def read_study(
    database: Database, name: str, curves: bool = True, thinned: bool = False
) -> StudyData:
    """Read a study; without `curves` they are empty. Raises UserError listing the studies.

    `thinned` is enough for findings and figures: of a study with more than MOST_CURVES trials or
    MOST_POINTS evaluations each trial keeps its first, best and last evaluation, some trials more
    (see `shown_curves`). Further metrics and rates of groups are read of the best trials alone.
    """
    with database.session() as session:
        row = study_row(session, database, name)
        slots = session.execute(_trial_slots(row.study_id)).all()
        study = _study(
            session, row, len(slots), [_trial(slot) for slot in slots if slot.trial_id is not None]
        )
        if not curves or not study.trials:
            return study
        count = select(func.count()).where(EvaluationRow.study_id == row.study_id)
        if thinned and (
            len(study.trials) > MOST_CURVES or (session.scalar(count) or 0) > MOST_POINTS
        ):
            evaluations = _thinned(session, study)
        else:
            evaluations = read_evaluations(session, select(*COLUMNS).where(_all_of(study)))
    return replace(
        study,
        trials=tuple(
            replace(trial, curve=tuple(evaluations.get(trial.trial_id, ())))
            for trial in study.trials
        ),
    )


def read_trials(database: Database, name: str, numbers: Collection[int]) -> StudyData:
    """Read some trials of a study by their numbers, with their curves.

    Raises UserError naming the valid ones for a trial that is not there.
    """
    with database.session() as session:
        row = study_row(session, database, name)
        wanted = TrialSlotRow.trial_number.in_(numbers)
        slots = session.execute(_trial_slots(row.study_id).where(wanted)).all()
        there = {slot.trial_number for slot in slots}
        last = session.scalar(
            select(func.max(TrialSlotRow.trial_number)).where(TrialSlotRow.study_id == row.study_id)
        )
        for number in numbers:
            if number not in there:
                known = "none yet" if last is None else f"0 to {last}"
                raise UserError(f"{name} has no trial {number}; there: {known}")
        ids = [slot.trial_id for slot in slots]
        total = session.scalar(select(func.count()).where(TrialSlotRow.study_id == row.study_id))
        evaluations = read_evaluations(
            session, select(*COLUMNS).where(EvaluationRow.trial_id.in_(ids))
        )
        trials = [_trial(slot, evaluations) for slot in slots]
        return _study(session, row, total or 0, trials)


def trial_count(database: Database, name: str) -> int:
    """Count the trials of a study that have begun. Raises UserError listing the studies."""
    with database.session() as session:
        row = study_row(session, database, name)
        begun = (TrialSlotRow.study_id == row.study_id) & TrialSlotRow.trial_id.is_not(None)
        return session.scalar(select(func.count()).where(begun)) or 0


def each_trial(database: Database, study: StudyData) -> Iterator[TrialData]:
    """Yield the trials of a study with their whole curves, read in batches."""
    for at in range(0, len(study.trials), _BATCH):
        some = study.trials[at : at + _BATCH]
        with database.session() as session:
            of_some = EvaluationRow.trial_id.in_([trial.trial_id for trial in some])
            evaluations = read_evaluations(session, select(*COLUMNS).where(of_some))
        for trial in some:
            yield replace(trial, curve=tuple(evaluations.get(trial.trial_id, ())))


def shown_curves(study: StudyData) -> list[TrialData]:
    """Return the trials whose curves are drawn, by number: all, or MOST_CURVES.

    If there are more, half are the best trials and half are spread evenly over the search.
    """
    if len(study.trials) <= MOST_CURVES:
        return list(study.trials)
    best = {trial.number for trial in study.ranked[: MOST_CURVES // 2]}
    others = [trial for trial in study.trials if trial.number not in best]
    wanted = MOST_CURVES - len(best)
    spread = {others[k * len(others) // wanted].number for k in range(wanted)}
    return [trial for trial in study.trials if trial.number in best | spread]


def _trial_slots(study_id: int) -> Select[*tuple[Any, ...]]:
    """Return the query of a study's trial slots in the order of their trials."""
    return (
        select(*TrialSlotRow.__table__.columns)
        .where(TrialSlotRow.study_id == study_id)
        .order_by(TrialSlotRow.trial_number)
    )


def _study(session: Session, row: StudyRow, total: int, trials: Sequence[TrialData]) -> StudyData:
    return StudyData(
        study_id=row.study_id,
        name=row.name,
        state=row.state,
        stopped=row.stopped,
        config=row.config,
        record=row.record,
        seconds=row.seconds,
        total=total,
        trials=tuple(trials),
        confirmation=read_confirmation(session, row.study_id),
    )


def _all_of(study: StudyData) -> ColumnElement[bool]:
    """Return the condition for all evaluations of a study.

    It selects by trial, the order of the table: an index that begins with the study would look up
    one row after the other, which takes five times as long for most of the table.
    """
    ids = [trial.trial_id for trial in study.trials]
    among = EvaluationRow.trial_id.between(min(ids), max(ids))
    return and_(among, EvaluationRow.study_id + 0 == study.study_id)


def _thinned(session: Session, study: StudyData) -> dict[int, list[Evaluation]]:
    """The evaluations of each trial that findings and figures need."""
    better = func.min if study.metric.mode == "min" else func.max
    # The first evaluation is kept anyway, and findings hold the best of the others against it.
    later = case((EvaluationRow.evaluation > 1, EvaluationRow.value))
    last = func.max(EvaluationRow.evaluation).over(partition_by=EvaluationRow.trial_id)
    best = better(later).over(partition_by=EvaluationRow.trial_id)
    shown = [trial.trial_id for trial in shown_curves(study)]
    whole = [trial.trial_id for trial in study.ranked[:WHOLE_CURVES]]
    among = select(func.count()).where(EvaluationRow.trial_id.in_(shown))
    every = max(1, -(-(session.scalar(among) or 0) // MOST_POINTS))
    # The rates of parameter groups, for the trials whose rates are drawn.
    metrics = case((EvaluationRow.trial_id.in_(whole), EvaluationRow.metrics))
    rows = (
        select(*COLUMNS[:-1], metrics.label("metrics"), last.label("last"), best.label("best"))
        .where(_all_of(study))
        .subquery()
    )
    kept = or_(
        rows.c.evaluation.in_((1, rows.c.last)),
        rows.c.value == rows.c.best,
        # The latest gain, of which forecasts are made, is counted since then.
        and_(
            rows.c.evaluation <= EARLIER * rows.c.last,
            rows.c.evaluation > EARLIER * rows.c.last - 1,
        ),
        # Counted from the end, as the last evaluation is what counts most.
        and_(rows.c.trial_id.in_(shown), (rows.c.last - rows.c.evaluation) % every == 0),
        rows.c.trial_id.in_(whole),
    )
    return read_evaluations(session, select(*rows.c[:-2]).where(kept))


def _trial(
    slot: Row[*tuple[Any, ...]], evaluations: Mapping[int, list[Evaluation]] = _NO_EVALUATIONS
) -> TrialData:
    return TrialData(
        number=slot.trial_number,
        trial_id=slot.trial_id,
        unit=slot.number,
        seed=slot.seed,
        state=slot.state,
        outcome=slot.outcome,
        value=slot.value,
        reason=slot.reason,
        end_step=slot.end_step,
        end_lr=slot.end_lr,
        seconds=slot.seconds if slot.state == WorkState.DONE else None,
        owner=slot.owner,
        device=slot.device,
        attempts=slot.attempts,
        deaths=slot.deaths,
        order=slot.finish_order,
        finished_at=slot.finished_at,
        recipe=None if slot.recipe is None else Recipe.from_dict(slot.recipe),
        curve=tuple(evaluations.get(slot.trial_id, ())),
        spared_at=slot.spared_at,
        weights=slot.weights,
        warning=slot.warning,
    )
