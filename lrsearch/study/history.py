"""Histories of a study's trials for samplers and pruners, read by indexes of `lrsearch_epochs`."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cached_property
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, bindparam, false, func, select, true
from sqlalchemy.orm import Session, sessionmaker

from lrsearch.states import Outcome
from lrsearch.storage.tables import EvaluationRow, TrialSlotRow
from lrsearch.tuning.forecast import Peer, Standing, earlier_moment
from lrsearch.tuning.pruners.rules import Curve, Group, Mode, planned
from lrsearch.tuning.trajectory import Rates

MOST_PEERS = 250
"""Number of latest trials that forecasts use: more would make them slow, and no better."""

# Each evaluation runs these statements: they are built once, from tables, which are faster than ORM
# classes.
_epochs, _slots = EvaluationRow.__table__.c, TrialSlotRow.__table__.c
_AROUND = (
    _epochs.study_id == bindparam("study"),
    _epochs.progress > bindparam("low"),
    _epochs.progress < bindparam("high"),
    _epochs.trial_id > bindparam("oldest"),
    _epochs.moment.is_not(None),
    _epochs.value.is_not(None),
)
_VALUES = select(_epochs.trial_id, _epochs.value).where(*_AROUND).order_by(_epochs.evaluation)
_PEERS = (
    select(
        _epochs.trial_id,
        _epochs.value,
        _epochs.complete,
        _epochs.lr_end,
        _epochs.rate_left,
        _slots.trial_number,
        _slots.value.label("final"),
        _slots.peak_lr,
        _slots.batch_size,
        _slots.optimizer,
    )
    .join_from(EvaluationRow.__table__, TrialSlotRow.__table__, _slots.trial_id == _epochs.trial_id)
    .where(*_AROUND, _slots.trial_id > bindparam("oldest"))
    .order_by(_epochs.evaluation)
)
_LATEST = (
    select(_slots.trial_id)
    .where(_slots.study_id == bindparam("study"), _slots.trial_id.is_not(None))
    .order_by(_slots.trial_id.desc())
    .limit(MOST_PEERS + 1)
)


@contextmanager
def open_history(
    session_of: sessionmaker[Session], study_id: int, mode: Mode
) -> Iterator[StudyHistory]:
    """Open the history of a study for the block, each statement a transaction of its own.

    So no transaction is left open, and no connection of a PgBouncer taken, while a pruner thinks.
    Within the block this thread may not use the database in another way: a process has one
    connection.
    """
    with session_of() as session:
        session.connection(execution_options={"isolation_level": "AUTOCOMMIT"})
        yield StudyHistory(lambda: nullcontext(session), study_id, mode)


class StudyHistory:
    """The trials of a study, each method in a transaction of its own unless they share one.

    Each method runs one statement that reads one index in order, and only the values it needs.
    Evaluations without a value, and those between the moments at which trials are compared, are
    left out.
    """

    def __init__(
        self, session: Callable[[], AbstractContextManager[Session]], study_id: int, mode: Mode
    ) -> None:
        """`session` opens the transaction of one method."""
        self._session, self._study_id = session, study_id
        self._sign = 1.0 if mode == "min" else -1.0

    def at(self, progress: float, spacing: float) -> Sequence[Peer]:
        """Return the latest trials with a value at a share of their training.

        Within half a spacing; of several values of a trial there, the latest counts.
        """
        before = earlier_moment(progress, spacing)
        earlier = {row[0]: row[1] for row in self._around(_VALUES, before, spacing)}
        latest = {row[0]: row for row in self._around(_PEERS, progress, spacing)}
        return [self._peer(row, earlier) for row in latest.values()]

    def _peer(self, row: Row[*tuple[Any, ...]], earlier: Mapping[int, float]) -> Peer:
        """Return a trial from its row, with its value at an earlier moment if it has one."""
        trial_id, value, complete, now, left, number, final, peak, batch_size, optimizer = row
        sign = self._sign
        rates = None
        if left is not None and peak is not None:
            rates = Rates(now, left, peak, batch_size, optimizer)
        at = Standing(sign * value, sign * earlier.get(trial_id, value), rates)
        return Peer(number, at, sign * final if complete and final is not None else None)

    def begun(self) -> int:
        """Return the number of begun trials among those that `at` considers."""
        return min(len(self._latest), MOST_PEERS)

    def reached(self) -> Mapping[int, tuple[int, int]]:
        """Return, of each incomplete trial by number, its values so far and those planned."""
        rows = self._rows(
            select(
                TrialSlotRow.trial_number,
                func.count(EvaluationRow.moment),
                func.max(EvaluationRow.progress),
            )
            .join(TrialSlotRow, TrialSlotRow.trial_id == EvaluationRow.trial_id)
            .where(
                EvaluationRow.study_id == self._study_id,
                EvaluationRow.complete == false(),
                EvaluationRow.moment.is_not(None),
            )
            .group_by(TrialSlotRow.trial_number)
        )
        return {
            number: (done, planned(done, progress))
            for number, done, progress in rows
            if number is not None and progress
        }

    def _around(
        self, statement: Select[*tuple[Any, ...]], progress: float, spacing: float
    ) -> Sequence[Row[*tuple[Any, ...]]]:
        """Run a statement for the moment `progress`, give or take half a spacing.

        Its rows are ordered by evaluation.
        """
        half = spacing / 2
        moment = {"low": progress - half, "high": progress + half}
        return self._rows(statement, {"study": self._study_id, "oldest": self._oldest, **moment})

    @property
    def _oldest(self) -> int:
        """Id of the newest trial that is too old to be considered; -1 where there is none.

        A number rather than a subquery: databases plan by how few rows have larger ids.
        """
        return self._latest[MOST_PEERS] if len(self._latest) > MOST_PEERS else -1

    @cached_property
    def _latest(self) -> Sequence[int]:
        """Ids of the MOST_PEERS newest trials and of the next older one, the newest first."""
        return [row[0] for row in self._rows(_LATEST, {"study": self._study_id})]

    def complete(self) -> int:
        """Return the number of complete trials."""
        slots = TrialSlotRow.study_id == self._study_id, TrialSlotRow.outcome == Outcome.COMPLETE
        return self._count(*slots)

    def count(self, group: Group) -> int:
        """Return the number of trials in the group."""
        return self._count(*self._members(group))

    def ranked(self, group: Group, mode: Mode, first: int, how_many: int) -> Sequence[float]:
        """Return up to `how_many` values from rank `first` on; the best has rank 0."""
        best_first = EvaluationRow.value.asc() if mode == "min" else EvaluationRow.value.desc()
        values = self._rows(
            select(EvaluationRow.value)
            .where(*self._members(group))
            .order_by(best_first)
            .offset(first)
            .limit(how_many)
        )
        return [value for (value,) in values if value is not None]

    def curves(self, first: int) -> Sequence[Curve]:
        """Return the trials from number `first` on that have a value, by number."""
        rows = self._rows(
            select(
                TrialSlotRow.number, TrialSlotRow.trial_number, TrialSlotRow.outcome,
                TrialSlotRow.value, EvaluationRow.moment, EvaluationRow.value,
            )
            .join(EvaluationRow, EvaluationRow.trial_id == TrialSlotRow.trial_id)
            .where(
                TrialSlotRow.study_id == self._study_id, TrialSlotRow.trial_number >= first,
                EvaluationRow.moment.is_not(None),
            )
            .order_by(TrialSlotRow.trial_number, EvaluationRow.moment)
        )  # fmt: skip
        return [
            Curve(slot, number, [(row[4] or 0, row[5]) for row in group], outcome, final)
            for (slot, number, outcome, final), group in itertools.groupby(
                rows, key=lambda row: (row[0], row[1], row[2], row[3])
            )
        ]

    def _count(self, *which: ColumnElement[bool]) -> int:
        return int(self._rows(select(func.count()).where(*which))[0][0])

    def _rows(
        self, statement: Select[*tuple[Any, ...]], values: Mapping[str, Any] | None = None
    ) -> Sequence[Row[*tuple[Any, ...]]]:
        with self._session() as session:
            return session.execute(statement, values).all()

    def _members(self, group: Group) -> list[ColumnElement[bool]]:
        members = [
            EvaluationRow.study_id == self._study_id,
            EvaluationRow.moment == group.moment,
            EvaluationRow.value.is_not(None),
        ]
        if group.complete:
            members.append(EvaluationRow.complete == true())
        if group.bracket is not None:
            members.append(EvaluationRow.bracket == group.bracket)
        return members
