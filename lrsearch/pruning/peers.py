"""What pruning asks about other trials, answered by the indexes of `lrsearch_epochs`."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, func, select, true
from sqlalchemy.orm import Session

from lrsearch.pruning.rules import Group, Mode
from lrsearch.study.tables import EpochRow


class SqlPeers:
    """The trials of a study, as the caller's transaction sees them.

    Each question is one statement that reads one index in order, and no more values than asked.
    Evaluations without a value are left out.
    """

    def __init__(self, session: Session, study_id: int) -> None:
        self._session, self._study_id = session, study_id

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
