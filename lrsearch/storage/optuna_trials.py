"""Optuna's storage, reading the trials of a study by columns.

Optuna's own makes an object of every stored row: beside 5,000 trials of 50 evaluations that takes a
third of a million objects, ten seconds and half a gigabyte before the first suggestion. Tests
compare what this module reads with what Optuna's own storage reads.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from optuna.distributions import BaseDistribution, json_to_distribution
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import ColumnElement, Select, and_, func, select
from sqlalchemy.orm import Session, aliased

from lrsearch.storage.optuna_internals import (
    ARTIFACTS_ATTR_PREFIX,
    COMPLETE_UTC,
    START_UTC,
    TrialReadingStorage,
    id_of_trial,
    models,
)

_Trial, _Param, _Value = models.TrialModel, models.TrialParamModel, models.TrialValueModel
_User, _System = models.TrialUserAttributeModel, models.TrialSystemAttributeModel
_Intermediate = models.TrialIntermediateValueModel

_MOST_IDS = 500
"""Largest number of ids in one statement: databases limit its parameters."""


class ColumnStorage(TrialReadingStorage):
    """Optuna's storage in a database, reading the trials of a study by a few statements."""

    attributes: Sequence[str] | None = None
    """Names of the user attributes to read; None for all attributes, artifacts included."""
    only_last: bool = False
    """Whether to read only the last intermediate value of each trial, and none of complete ones."""
    most_values: int | None = None
    """About how many intermediate values to read at once; None for all.

    Of more, every second (third, ...) one of each trial is read, counted from its last.
    """

    def read_trials(
        self,
        study_id: int,
        states: Container[TrialState] | None,
        included_trial_ids: set[int],
        trial_id_greater_than: int,
    ) -> list[FrozenTrial]:
        again = sorted(number for number in included_trial_ids if number <= trial_id_greater_than)
        conditions = [_Trial.trial_id > trial_id_greater_than]
        conditions += [
            _Trial.trial_id.in_(again[at : at + _MOST_IDS])
            for at in range(0, len(again), _MOST_IDS)
        ]
        trials: list[FrozenTrial] = []
        with Session(self.engine) as session:
            models.StudyModel.find_or_raise_by_id(study_id, session)
            for condition in conditions:
                trials += self._read(session, and_(_Trial.study_id == study_id, condition))
        if states is not None:
            trials = [trial for trial in trials if trial.state in states]
        return sorted(trials, key=id_of_trial)

    def _read(self, session: Session, which: ColumnElement[bool]) -> list[FrozenTrial]:
        """Return trials with parameters and values, and the selected attributes and curves."""
        trials = session.execute(
            select(
                _Trial.trial_id,
                _Trial.number,
                _Trial.state,
                START_UTC,
                COMPLETE_UTC,
            ).where(which)
        ).all()
        if not trials:
            return []
        params: dict[int, dict[str, Any]] = defaultdict(dict)
        distributions: dict[int, dict[str, BaseDistribution]] = defaultdict(dict)
        for trial_id, name, value, text in _rows(
            session,
            select(_Param.trial_id, _Param.param_name, _Param.param_value, _Param.distribution_json)
            .join(_Trial, _Trial.trial_id == _Param.trial_id)
            .where(which)
            .order_by(_Param.param_id),
        ):
            distribution = _distribution(text)
            params[trial_id][name] = distribution.to_external_repr(value)
            distributions[trial_id][name] = distribution
        values: dict[int, dict[int, float]] = defaultdict(dict)
        for trial_id, objective, value, kind in _rows(
            session,
            select(_Value.trial_id, _Value.objective, _Value.value, _Value.value_type)
            .join(_Trial, _Trial.trial_id == _Value.trial_id)
            .where(which),
        ):
            values[trial_id][objective] = _Value.stored_repr_to_value(value, kind)
        user, system = (
            self._user_attributes(session, which),
            self._system_attributes(session, which),
        )
        curves = self._intermediate_values(session, which)
        return [
            FrozenTrial(
                number=number,
                state=state,
                value=None,
                values=[values[trial_id][k] for k in sorted(values[trial_id])] or None,
                datetime_start=_local(start),
                datetime_complete=_local(complete),
                params=params[trial_id],
                distributions=distributions[trial_id],
                user_attrs=user.get(trial_id, {}),
                system_attrs=system.get(trial_id, {}),
                intermediate_values=curves.get(trial_id, {}),
                trial_id=trial_id,
            )
            for trial_id, number, state, start, complete in trials
        ]

    def _user_attributes(
        self, session: Session, which: ColumnElement[bool]
    ) -> Mapping[int, dict[str, Any]]:
        query = (
            select(_User.trial_id, _User.key, _User.value_json)
            .join(_Trial, _Trial.trial_id == _User.trial_id)
            .where(which)
        )
        if self.attributes is not None:
            query = query.where(_User.key.in_(self.attributes))
        return _read_json(_rows(session, query))

    def _system_attributes(
        self, session: Session, which: ColumnElement[bool]
    ) -> Mapping[int, dict[str, Any]]:
        query = (
            select(_System.trial_id, _System.key, _System.value_json)
            .join(_Trial, _Trial.trial_id == _System.trial_id)
            .where(which)
        )
        if self.attributes is not None:
            query = query.where(~_System.key.startswith(ARTIFACTS_ATTR_PREFIX))
        return _read_json(_rows(session, query))

    def _intermediate_values(
        self, session: Session, which: ColumnElement[bool]
    ) -> Mapping[int, dict[int, float]]:
        query = (
            select(
                _Intermediate.trial_id,
                _Intermediate.step,
                _Intermediate.intermediate_value,
                _Intermediate.intermediate_value_type,
            )
            .join(_Trial, _Trial.trial_id == _Intermediate.trial_id)
            .where(which)
        )
        others = aliased(_Intermediate)
        last = (
            select(func.max(others.step))
            .where(others.trial_id == _Trial.trial_id)
            .correlate(_Trial)
            .scalar_subquery()
        )
        if self.only_last:
            query = query.where(_Trial.state != TrialState.COMPLETE, _Intermediate.step == last)
        elif self.most_values is not None:
            every = max(1, -(-self._count_values(session, which) // self.most_values))
            if every > 1:
                query = query.where((last - _Intermediate.step) % every == 0)
        curves: dict[int, dict[int, float]] = defaultdict(dict)
        for trial_id, step, value, kind in _rows(session, query):
            curves[trial_id][step] = _Intermediate.stored_repr_to_intermediate_value(value, kind)
        return curves

    def _count_values(self, session: Session, which: ColumnElement[bool]) -> int:
        count = (
            select(func.count())
            .select_from(_Intermediate)
            .join(_Trial, _Trial.trial_id == _Intermediate.trial_id)
            .where(which)
        )
        return session.scalar(count) or 0


def _rows(session: Session, query: Select[*tuple[Any, ...]]) -> Iterable[Any]:
    """Return the rows of a query, fetched a thousand at a time."""
    return session.execute(query.execution_options(yield_per=1000))


def _read_json(rows: Iterable[Any]) -> Mapping[int, dict[str, Any]]:
    """Parse attributes; return them by trial id and name."""
    attributes: dict[int, dict[str, Any]] = defaultdict(dict)
    for trial_id, key, text in rows:
        attributes[trial_id][key] = json.loads(text)
    return attributes


@lru_cache(maxsize=4096)
def _distribution(text: str) -> BaseDistribution:
    """Parse a distribution. Cached: the trials of a study share a few."""
    return json_to_distribution(text)


def _local(moment: datetime | None) -> datetime | None:
    """Convert stored UTC to local time without a zone, as Optuna returns it."""
    return None if moment is None else moment.replace(tzinfo=UTC).astimezone().replace(tzinfo=None)
