"""What pruning asks about other trials, answered by the indexes of `lrsearch_epochs`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from sqlalchemy import ColumnElement, Select, false, func, select, true
from sqlalchemy.orm import Session

from lrsearch.course import Rates
from lrsearch.forecast import Peer, Standing, earlier_moment
from lrsearch.pruning.rules import Group, Mode
from lrsearch.study.tables import EpochRow, UnitRow

MOST_PEERS = 250
"""More would make a decision slow, and no better."""


class SqlPeers:
    """The trials of a study, as the caller's transaction sees them.

    Each question is one statement that reads one index in order, and no more values than asked.
    Evaluations without a value are left out.
    """

    def __init__(self, session: Session, study_id: int, mode: Mode) -> None:
        self._session, self._study_id = session, study_id
        self._sign = 1.0 if mode == "min" else -1.0

    def at(self, progress: float, spacing: float) -> Sequence[Peer]:
        """The latest trials that have a value at this share of their training.

        Give or take half a spacing; of a trial with several values there, the latest counts.
        """
        columns = select(
            EpochRow.trial_id,
            EpochRow.value,
            EpochRow.complete,
            EpochRow.lr_end,
            EpochRow.rate_left,
            UnitRow.trial_number,
            UnitRow.value.label("final"),
            UnitRow.recipe["lr"].as_float().label("peak"),
            UnitRow.recipe[("optimizer", "name")].as_string().label("optimizer"),
        ).join(UnitRow, UnitRow.trial_id == EpochRow.trial_id)
        now = self._around(columns.where(UnitRow.trial_id > self._oldest), progress, spacing)
        values = select(EpochRow.trial_id, EpochRow.value)
        earlier = self._around(values, earlier_moment(progress, spacing), spacing)
        return [
            Peer(
                row.trial_number,
                Standing(
                    self._sign * row.value,
                    self._sign * earlier.get(trial_id, row).value,
                    _rates(row),
                ),
                self._sign * row.final if row.complete and row.final is not None else None,
            )
            for trial_id, row in now.items()
        ]

    def begun(self) -> int:
        """How many trials have begun, of those that `at` looks at."""
        return min(len(self._latest), MOST_PEERS)

    def reached(self) -> Mapping[int, tuple[int, int]]:
        """The last evaluation of each trial that is not complete, and how many a whole one has."""
        rows = self._session.execute(
            select(
                UnitRow.trial_number,
                func.max(EpochRow.evaluation),
                func.max(EpochRow.progress),
            )
            .join(UnitRow, UnitRow.trial_id == EpochRow.trial_id)
            .where(EpochRow.study_id == self._study_id, EpochRow.complete == false())
            .group_by(UnitRow.trial_number)
        )
        return {
            number: (evaluation, round(evaluation / progress))
            for number, evaluation, progress in rows
            if number is not None and progress
        }

    def _around(
        self, columns: Select[*tuple[Any, ...]], progress: float, spacing: float
    ) -> dict[int, Any]:
        """By trial id, the latest of each."""
        rows = columns.where(
            EpochRow.study_id == self._study_id,
            EpochRow.progress > progress - spacing / 2,
            EpochRow.progress < progress + spacing / 2,
            EpochRow.trial_id > self._oldest,
            EpochRow.value.is_not(None),
        ).order_by(EpochRow.evaluation)
        return {row.trial_id: row for row in self._session.execute(rows)}

    @property
    def _oldest(self) -> int:
        """The last trial that is too long ago to be looked at; -1 where there is none.

        A number, not a subquery: databases plan by how few rows are beyond it.
        """
        return self._latest[MOST_PEERS] if len(self._latest) > MOST_PEERS else -1

    @cached_property
    def _latest(self) -> Sequence[int]:
        """The latest trials, the last one first, and one that is too long ago to be looked at."""
        latest = self._session.scalars(
            select(UnitRow.trial_id)
            .where(UnitRow.study_id == self._study_id, UnitRow.trial_id.is_not(None))
            .order_by(UnitRow.trial_id.desc())
            .limit(MOST_PEERS + 1)
        )
        return [trial_id for trial_id in latest if trial_id is not None]

    def count(self, group: Group) -> int:
        """How many trials are in the group."""
        found = self._session.scalar(select(func.count()).where(*self._members(group)))
        return found or 0

    def ranked(self, group: Group, mode: Mode, first: int, how_many: int) -> Sequence[float]:
        """Values from rank `first` on, the best one being rank 0; fewer where they end."""
        best_first = EpochRow.value.asc() if mode == "min" else EpochRow.value.desc()
        values = self._session.scalars(
            select(EpochRow.value)
            .where(*self._members(group))
            .order_by(best_first)
            .offset(first)
            .limit(how_many)
        )
        return [value for value in values if value is not None]

    def _members(self, group: Group) -> list[ColumnElement[bool]]:
        members = [
            EpochRow.study_id == self._study_id,
            EpochRow.evaluation == group.evaluation,
            EpochRow.value.is_not(None),
        ]
        if group.complete:
            members.append(EpochRow.complete == true())
        if group.bracket is not None:
            members.append(EpochRow.bracket == group.bracket)
        return members


def _rates(row: Any) -> Rates | None:
    if row.rate_left is None or row.peak is None:
        return None
    return Rates(row.lr_end, row.rate_left, row.peak, row.optimizer)
