"""All use of Optuna's storage: studies, and trials that carry the unit they stand for."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Mapping
from typing import Any, Literal

import optuna
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.trial import Trial, TrialState, create_trial
from sqlalchemy import delete, event
from sqlalchemy.engine import make_url
from sqlalchemy.orm import Session

from lrsearch.space.domains import Suggester

UNIT = "lrsearch:unit"
"""The user attribute of a trial that names its unit."""

State = Literal["complete", "pruned", "failed"]
_STATES = {
    "complete": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "failed": TrialState.FAIL,
}


def quiet_optuna() -> None:
    """Keeps Optuna's own lines and experimental warnings off the screen; ours say it once."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)


class Studies:
    """Optuna's studies in a database."""

    def __init__(self, url: str) -> None:
        quiet_optuna()
        sqlite = make_url(url).get_backend_name() == "sqlite"
        engine_kwargs: dict[str, Any] = (
            {"connect_args": {"timeout": 120}}
            if sqlite
            else {"pool_size": 1, "max_overflow": 1, "pool_pre_ping": True}
        )
        self._rdb = RDBStorage(url, engine_kwargs=engine_kwargs)
        if sqlite:

            @event.listens_for(self._rdb.engine, "connect")
            def prepare(connection: Any, _: Any) -> None:
                connection.execute("PRAGMA synchronous=NORMAL")

            self._rdb.engine.dispose()
        self._storage = optuna.storages.get_storage(self._rdb)

    def find(self, name: str) -> int | None:
        """The id of a study; None when there is none of that name."""
        try:
            return self._storage.get_study_id_from_name(name)
        except KeyError:
            return None

    def create(self, name: str, mode: Literal["min", "max"], metric: str) -> int:
        """Makes a study, or finds the one another process has just made; its id."""
        study = optuna.create_study(
            storage=self._storage,
            study_name=name,
            direction="minimize" if mode == "min" else "maximize",
            load_if_exists=True,
        )
        study.set_metric_names([metric])
        return study._study_id

    def has_trials(self, name: str) -> bool:
        """Whether a study has any trial."""
        study = optuna.load_study(study_name=name, storage=self._storage)
        return bool(study.get_trials(deepcopy=False))

    def annotate(self, name: str, attributes: Mapping[str, Any]) -> None:
        """Sets user attributes of a study, for the dashboard."""
        study = optuna.load_study(study_name=name, storage=self._storage)
        for key, value in attributes.items():
            if study.user_attrs.get(key) != value:
                study.set_user_attr(key, value)

    def trials(self, name: str, pruner: optuna.pruners.BasePruner) -> Trials:
        """The trials of a study, pruned by `pruner`."""
        return Trials(
            optuna.load_study(study_name=name, storage=self._storage, pruner=pruner), self._rdb
        )

    def close(self) -> None:
        """Gives all connections back."""
        self._rdb.remove_session()
        self._rdb.engine.dispose()


class Trials:
    """The trials of one study."""

    def __init__(self, study: optuna.Study, rdb: RDBStorage) -> None:
        self._study = study
        self._rdb = rdb

    def start(
        self, unit: int, params: Mapping[str, Any], sampler: optuna.samplers.BaseSampler
    ) -> RunningTrial:
        """A new trial that carries its unit from birth; `params` are given, the rest suggested."""
        trial_id = self._study._storage.create_new_trial(
            self._study._study_id,
            template_trial=create_trial(
                state=TrialState.RUNNING,
                user_attrs={UNIT: unit},
                system_attrs={"fixed_params": dict(params)} if params else {},
            ),
        )
        return self._open(trial_id, sampler)

    def take_over(self, trial_id: int, sampler: optuna.samplers.BaseSampler) -> RunningTrial | None:
        """An unfinished trial, to be run again from its start under its own number.

        What it had reported is removed. None when it is finished after all.
        """
        frozen = self._study._storage.get_trial(trial_id)
        if frozen.state.is_finished():
            return None
        values, attributes = models.TrialIntermediateValueModel, models.TrialUserAttributeModel
        with Session(self._rdb.engine) as session:
            session.execute(delete(values).where(values.trial_id == trial_id))
            ending = attributes.key.in_(("status", "reason", "seconds"))
            session.execute(delete(attributes).where(attributes.trial_id == trial_id, ending))
            session.commit()
        if frozen.state == TrialState.WAITING:
            self._study._storage.set_trial_state_values(trial_id, TrialState.RUNNING)
        return self._open(trial_id, sampler)

    def wait(self, trial_id: int) -> None:
        """Marks an interrupted trial as waiting, so that nothing is left RUNNING."""
        if not self._study._storage.get_trial(trial_id).state.is_finished():
            self._study._storage.set_trial_state_values(trial_id, TrialState.WAITING)

    def fail(self, trial_id: int, reason: str) -> None:
        """Ends an unfinished trial as failed."""
        if not self._study._storage.get_trial(trial_id).state.is_finished():
            self._study._storage.set_trial_user_attr(trial_id, "status", "failed")
            self._study._storage.set_trial_user_attr(trial_id, "reason", reason)
            self._study._storage.set_trial_state_values(trial_id, TrialState.FAIL)

    def find(self, unit: int) -> int | None:
        """The trial that carries a unit, if a crash left one; its id."""
        for trial in self._study.get_trials(deepcopy=False):
            if trial.user_attrs.get(UNIT) == unit:
                return trial._trial_id
        return None

    def ending(self, trial_id: int) -> tuple[str, float | None, str | None]:
        """How a finished trial ended (its `status` attribute or state), its value, the reason."""
        frozen = self._study._storage.get_trial(trial_id)
        state = next(name for name, one in _STATES.items() if one == frozen.state)
        attributes = frozen.user_attrs
        return str(attributes.get("status", state)), frozen.value, attributes.get("reason")

    def _open(self, trial_id: int, sampler: optuna.samplers.BaseSampler) -> RunningTrial:
        self._study.sampler = sampler
        # What Study.ask does first: the sampler must see trials that others have finished.
        self._study._thread_local.cached_all_trials = None
        return RunningTrial(self._study, self._rdb, Trial(self._study, trial_id))


class RunningTrial:
    """One trial at work."""

    def __init__(self, study: optuna.Study, rdb: RDBStorage, trial: Trial) -> None:
        self._study = study
        self._rdb = rdb
        self._trial = trial
        self.trial_id: int = trial._trial_id
        self.number = trial.number

    @property
    def suggester(self) -> Suggester:
        """What a search space suggests from."""
        return self._trial

    def annotate(self, attributes: Mapping[str, Any]) -> None:
        """Sets user attributes, columns in the dashboard, in one transaction."""
        table = models.TrialUserAttributeModel
        with Session(self._rdb.engine) as session:
            mine = table.trial_id == self.trial_id
            session.execute(delete(table).where(mine, table.key.in_(attributes)))
            session.add_all(
                table(trial_id=self.trial_id, key=key, value_json=json.dumps(value))
                for key, value in attributes.items()
            )
            session.commit()

    def report(self, value: float, evaluation: int) -> None:
        """Reports the value of an evaluation, counted from 1."""
        self._trial.report(value, evaluation)

    def should_prune(self) -> bool:
        """Whether the study's pruner would end the trial now."""
        return self._trial.should_prune()

    def finish(self, state: State, value: float | None, feasible: bool) -> None:
        """Ends the trial, with a constraint that tells samplers whether the setting works."""
        self._trial.set_constraint("works", -1.0 if feasible else 1.0)
        self._study.tell(
            self._trial,
            value if state == "complete" else None,
            state=_STATES[state],
        )
