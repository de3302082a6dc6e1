"""All use of Optuna's storage: its studies, and its rows of lrsearch's trials.

lrsearch's own tables are authoritative. Optuna's rows, which the dashboard reads, are written in
the same transactions, so that the two never differ. Optuna has no public way to do that: tests
read the rows that this module writes by Optuna's own functions.
"""

from __future__ import annotations

import json
import logging
import math
import uuid
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any, Literal

import optuna
from optuna.distributions import distribution_to_json
from optuna.trial import TrialState
from sqlalchemy import Engine, delete, func, insert, select, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from lrsearch.states import Outcome
from lrsearch.storage.database import Database, unusable
from lrsearch.storage.engine import engine_options
from lrsearch.storage.optuna_internals import (
    ARTIFACTS_ATTR_PREFIX,
    CONSTRAINTS_KEY,
    ArtifactMeta,
    id_of_study,
    models,
)
from lrsearch.storage.optuna_tables import make_tables, open_storage
from lrsearch.storage.optuna_trials import ColumnStorage
from lrsearch.storage.storable import storable
from lrsearch.storage.suggestions import Chosen, Suggestions
from lrsearch.storage.tables import LOCK

UNIT = "lrsearch:unit"
"""User attribute of a trial: the number of its trial slot."""
_ENDING = ("status", "reason", "warning", "seconds", "epochs", "final lr")
"""User attributes that are set at the end of a trial."""
_LARGEST_TRIAL_ID = 1 << 63
"""Ids below this give UUIDs that no random UUID of version 4 can equal."""
_REPORT = insert(models.TrialIntermediateValueModel.__table__).inline()
"""Inline: the keys of the new rows are not read back."""
_CONSTRAINT = f"{CONSTRAINTS_KEY}:works"
"""System attribute of a constraint: negative where the setting works, else positive."""


def quiet_optuna() -> None:
    """Silence Optuna's log and its warnings about experimental features."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)


class _SamplerStorage(ColumnStorage):
    """Reads only those columns of trials that samplers use."""

    attributes = ("status",)
    only_last = True


class Studies:
    """Optuna's studies in a database."""

    def __init__(self, url: str) -> None:
        quiet_optuna()
        try:
            make_tables(url)
            self._rdb = open_storage(_SamplerStorage, url, engine_options(url))
        except (DBAPIError, ImportError) as error:
            raise unusable(url, error) from error
        self._storage = optuna.storages.get_storage(self._rdb)

    @property
    def engine(self) -> Engine:
        """The engine, also for lrsearch's own tables: one connection in all."""
        return self._rdb.engine

    def find(self, name: str) -> int | None:
        """Return the id of a study; None where there is none of that name."""
        try:
            return self._storage.get_study_id_from_name(name)
        except KeyError:
            return None

    def create(self, name: str, mode: Literal["min", "max"], metric: str) -> int:
        """Create a study, unless another process has just created it; return its id."""
        study = optuna.create_study(
            storage=self._storage,
            study_name=name,
            direction="minimize" if mode == "min" else "maximize",
            load_if_exists=True,
        )
        study.set_metric_names([metric])
        return id_of_study(study)

    def has_trials(self, name: str) -> bool:
        """Return whether a study has any trial."""
        study = optuna.load_study(study_name=name, storage=self._storage)
        return bool(study.get_trials(deepcopy=False))

    def annotate(self, name: str, attributes: Mapping[str, Any]) -> None:
        """Set user attributes of a study, for the dashboard."""
        study = optuna.load_study(study_name=name, storage=self._storage)
        for key, value in attributes.items():
            if study.user_attrs.get(key) != storable(value):
                study.set_user_attr(key, storable(value))

    def delete(self, name: str) -> None:
        """Remove a study with all its trials."""
        optuna.delete_study(study_name=name, storage=self._storage)

    def suggestions(
        self,
        name: str,
        trial_id: int,
        sampler: optuna.samplers.BaseSampler,
        fixed: Mapping[str, Any],
    ) -> Suggestions:
        """Return the suggestions of a sampler for a trial whose `fixed` parameters are known."""
        study = optuna.load_study(study_name=name, storage=self._storage, sampler=sampler)
        # Not from the cache, which keeps finished trials: a failed one may have been reopened.
        frozen = self._rdb.get_trial(trial_id)
        sampler.before_trial(study, frozen)
        return Suggestions(study, frozen, fixed)

    def close(self) -> None:
        """Close all connections."""
        self._rdb.remove_session()
        self._rdb.engine.dispose()


def open_database(url: str) -> tuple[Studies, Database]:
    """Open Optuna's tables and lrsearch's own, which are created if they are missing.

    Both together use one connection, which is given back where this fails. Raises UserError.
    """
    studies = Studies(url)
    try:
        return studies, Database(url, studies.engine)
    except BaseException:
        studies.close()
        raise


# The functions below write Optuna's rows of a trial in the caller's transaction.


def create(session: Session, study_id: int, slot: int) -> tuple[int, int]:
    """Create a running trial with the number of its slot; return its id and number."""
    studies, trials = models.StudyModel, models.TrialModel
    # Lock the study: the number is the count of its trials, which must not change until the end.
    session.execute(
        select(studies.study_id).where(studies.study_id == study_id).with_for_update(**LOCK)
    ).one()
    number = session.scalar(select(func.count()).where(trials.study_id == study_id)) or 0
    trial = trials(
        study_id=study_id,
        number=number,
        state=TrialState.RUNNING,
        datetime_start=datetime.now(),
    )
    session.add(trial)
    session.flush()
    trial_id: int = trial.trial_id  # type: ignore[assignment]
    annotate(session, trial_id, {UNIT: slot}, new=True)
    # Add the picture at once: the dashboard never reads a finished trial a second time.
    key, meta = _picture(trial_id, number)
    system = models.TrialSystemAttributeModel
    session.add(system(trial_id=trial_id, key=key, value_json=json.dumps(meta)))
    return trial_id, number


def _picture(trial_id: int, number: int) -> tuple[str, str]:
    """Return Optuna's record of an artifact, as key and JSON, for the picture of a trial.

    The dashboard draws the picture when it is requested.
    """
    name = f"trial-{number}.png"
    artifact = ArtifactMeta(picture_id(trial_id), name, "image/png", encoding=None)
    return f"{ARTIFACTS_ATTR_PREFIX}{artifact.artifact_id}", json.dumps(asdict(artifact))


def picture_id(trial_id: int) -> str:
    """Return the artifact id of a trial's picture: a UUID that no random one (version 4) equals."""
    return str(uuid.UUID(int=trial_id))


def pictured(artifact_id: str) -> int | None:
    """Return the id of the trial that an artifact shows; None for any other artifact."""
    try:
        number = uuid.UUID(artifact_id).int
    except ValueError:
        return None
    return number if number < _LARGEST_TRIAL_ID else None


def set_running(session: Session, trial_id: int) -> None:
    """Mark a trial as running, and remove the records of an earlier end."""
    _go_on(session, trial_id, TrialState.RUNNING)


def set_waiting(session: Session, trial_id: int) -> None:
    """Mark a trial as waiting for a worker, and remove the records of an earlier end."""
    _go_on(session, trial_id, TrialState.WAITING)


def _go_on(session: Session, trial_id: int, wanted: TrialState) -> None:
    trials, attributes = models.TrialModel, models.TrialUserAttributeModel
    session.execute(
        update(trials)
        .where(trials.trial_id == trial_id)
        .values(state=wanted, _datetime_complete_utc=None)
    )
    session.execute(
        delete(attributes).where(attributes.trial_id == trial_id, attributes.key.in_(_ENDING))
    )
    values, system = models.TrialValueModel, models.TrialSystemAttributeModel
    session.execute(delete(values).where(values.trial_id == trial_id))
    session.execute(delete(system).where(system.trial_id == trial_id, system.key == _CONSTRAINT))


def set_parameters(session: Session, trial_id: int, chosen: Chosen) -> None:
    """Set the trial's parameters, replacing all earlier ones."""
    table = models.TrialParamModel
    session.execute(delete(table).where(table.trial_id == trial_id))
    session.add_all(
        table(
            trial_id=trial_id,
            param_name=name,
            param_value=distribution.to_internal_repr(value),
            distribution_json=distribution_to_json(distribution),
        )
        for name, (value, distribution) in chosen.items()
    )


def annotate(
    session: Session, trial_id: int, attributes: Mapping[str, Any], new: bool = False
) -> None:
    """Set user attributes, which are columns in the dashboard; `new` ones replace none."""
    table = models.TrialUserAttributeModel
    if not new:
        own_rows = table.trial_id == trial_id
        session.execute(delete(table).where(own_rows, table.key.in_(attributes)))
    session.add_all(
        table(trial_id=trial_id, key=key, value_json=json.dumps(storable(value)))
        for key, value in attributes.items()
    )


def report(session: Session, trial_id: int, values: Iterable[tuple[int, float | None]]) -> None:
    """Add the values of evaluations (counted from 1); None is stored as NaN."""
    table = models.TrialIntermediateValueModel
    rows = []
    for evaluation, value in values:
        stored, kind = table.intermediate_value_to_stored_repr(math.nan if value is None else value)
        rows.append(
            {
                "trial_id": trial_id,
                "step": evaluation,
                "intermediate_value": stored,
                "intermediate_value_type": kind,
            }
        )
    session.execute(_REPORT, rows)


def unreport(session: Session, trial_id: int, first: int) -> None:
    """Delete the values from evaluation `first` on."""
    table = models.TrialIntermediateValueModel
    session.execute(delete(table).where(table.trial_id == trial_id, table.step >= first))


def end(
    session: Session,
    trial_id: int,
    outcome: str,
    value: float | None,
    attributes: Mapping[str, Any],
) -> None:
    """End the trial, with a constraint that tells samplers whether the setting works."""
    trials = models.TrialModel
    state = TrialState.PRUNED
    if outcome == Outcome.COMPLETE:
        state = TrialState.COMPLETE
    elif outcome in (Outcome.FAILED, Outcome.CRASHED):
        state = TrialState.FAIL
    trial = session.get_one(trials, trial_id)
    trial.state, trial.datetime_complete = state, datetime.now()
    if value is not None and state != TrialState.FAIL:
        stored, kind = models.TrialValueModel.value_to_stored_repr(value)
        session.add(
            models.TrialValueModel(trial_id=trial_id, objective=0, value=stored, value_type=kind)
        )
    works = outcome in (Outcome.COMPLETE, Outcome.PRUNED)
    session.add(
        models.TrialSystemAttributeModel(
            trial_id=trial_id, key=_CONSTRAINT, value_json=json.dumps(-1.0 if works else 1.0)
        )
    )
    annotate(session, trial_id, {"status": outcome, **attributes})
