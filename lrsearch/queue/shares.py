"""Fair shares: the order in which a worker that is free serves the studies that wait for one.

Studies of the highest priority come first. Among those of one priority, running work is divided in
proportion to their shares. With n workers on the studies that wait, a study's part of them is
`n * share / sum of shares`. What a whole number of workers leaves over goes round by start-time
fair queueing (Goyal, Vin and Cheng, 1996): each study has a virtual time, which advances by the
mean length of its trials divided by its share whenever it is served, and the study with the
earliest one is next. A study that comes later, or that had no work for a while, begins at the
present virtual time, so that it neither waits nor catches up.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar

from sqlalchemy import ColumnElement, Update, case, func, select, update
from sqlalchemy.orm import aliased

from lrsearch.states import StudyState
from lrsearch.storage.clock import ticked
from lrsearch.storage.tables import StudyRow

_LEAST_SECONDS = 1e-3
"""Shortest mean length of trials: a study whose trials take no time has its turns, too."""
_ROUNDING = 1e-9


class Contender(Protocol):
    """A study that waits for a worker."""

    @property
    def study_id(self) -> int:
        """Its id; of studies that are equal otherwise the oldest is next."""

    @property
    def priority(self) -> int:
        """Its priority: the highest is next."""

    @property
    def share(self) -> float:
        """Its weight, above 0."""

    @property
    def running(self) -> int:
        """Number of its trials and auxiliary runs that are running."""

    @property
    def due(self) -> float:
        """Virtual time at which it is next."""


Study = TypeVar("Study", bound=Contender)


def in_turn(studies: Iterable[Study]) -> list[Study]:
    """Return studies in the order in which a free worker serves them.

    These are the studies that it can serve and that have work for it: others have no part.
    """
    ranks: dict[int, list[Study]] = {}
    for study in studies:
        ranks.setdefault(study.priority, []).append(study)
    return [study for priority in sorted(ranks, reverse=True) for study in _shared(ranks[priority])]


def lacks_workers(study_id: int, studies: Iterable[Contender]) -> bool:
    """Return whether a study has less than its part of the workers; False where it is not there."""
    competing = list(studies)
    study = next((one for one in competing if one.study_id == study_id), None)
    if study is None:
        return False
    return study.running < _part(study, [o for o in competing if o.priority == study.priority])


def _part(study: Contender, studies: Sequence[Contender]) -> float:
    """Return a study's part of the workers on studies of its priority and the one that is free."""
    workers = 1 + sum(one.running for one in studies)
    return workers * study.share / math.fsum(one.share for one in studies)


def _shared(studies: list[Study]) -> list[Study]:
    """Return studies of one priority in order."""

    def key(study: Study) -> tuple[int, float, float, int]:
        part, used = _part(study, studies), study.running / study.share
        if study.running + 1 <= part + _ROUNDING:  # it lacks a whole worker or more
            return 0, used, study.due, study.study_id
        if study.running < part:
            return 1, study.due, used, study.study_id
        return 2, used, study.due, study.study_id

    return sorted(studies, key=key)


def due() -> ColumnElement[float]:
    """Return the virtual time at which a study is next: SQL on a study's row.

    Until a first trial has ended, its trials count as long as those of other studies.
    """
    own = StudyRow.trial_seconds / StudyRow.finished
    other = aliased(StudyRow)
    others = (
        select(func.sum(other.trial_seconds) / func.sum(other.finished))
        .where(other.state == StudyState.OPEN, other.finished > 0)
        .scalar_subquery()
    )
    mean = case((StudyRow.finished > 0, own), else_=func.coalesce(others, 1.0))
    length = case((mean > _LEAST_SECONDS, mean), else_=_LEAST_SECONDS)
    return StudyRow.turn + length / StudyRow.share


def served(study_id: int) -> Update:
    """Return the statement that a worker begins to serve a study: its virtual time, and its clock.

    It locks the study's row until the end of the transaction.
    """
    other = aliased(StudyRow)
    present = (
        select(func.max(other.turn))
        .where(
            other.state == StudyState.OPEN,
            other.priority == StudyRow.priority,
            other.study_id != study_id,
        )
        .scalar_subquery()
    )
    own = due()
    return (
        update(StudyRow)
        .where(StudyRow.study_id == study_id)
        .values(turn=case((own < present, present), else_=own), **ticked())
        .execution_options(synchronize_session=False)
    )
