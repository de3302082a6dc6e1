"""What lrsearch takes for granted of Optuna's private names: a new minor version is held to it."""

from __future__ import annotations

import json
from collections.abc import Container, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import optuna
import pytest
from optuna.artifacts import FileSystemArtifactStore, get_all_artifact_meta, upload_artifact
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import select
from sqlalchemy.orm import Session

from lrsearch.storage.optuna_internals import (
    ARTIFACTS_ATTR_PREFIX,
    COMPLETE_UTC,
    CONSTRAINTS_KEY,
    START_UTC,
    ArtifactMeta,
    ArtifactStore,
    TrialReadingStorage,
    id_of_study,
    id_of_trial,
    models,
    set_parameter,
)


class OwnReading(TrialReadingStorage):
    """Optuna's storage, which reads these trials and no others."""

    trials: Sequence[FrozenTrial] = ()

    def read_trials(
        self,
        study_id: int,
        states: Container[TrialState] | None,
        included_trial_ids: set[int],
        trial_id_greater_than: int,
    ) -> list[FrozenTrial]:
        return [trial for trial in self.trials if states is None or trial.state in states]


@pytest.fixture
def storage() -> OwnReading:
    """A storage with Optuna's own tables, in memory."""
    return OwnReading("sqlite://")


def test_ids_are_those_of_the_rows(storage: OwnReading) -> None:
    study = optuna.create_study(storage=storage, study_name="a")
    study.tell(study.ask(), 0.5)
    with Session(storage.engine) as session:
        (stored,) = session.scalars(select(models.StudyModel.study_id))
        (trial,) = session.scalars(select(models.TrialModel.trial_id))
    assert id_of_study(study) == stored
    assert id_of_trial(storage.get_trial(trial)) == trial


def test_a_study_reads_its_trials_by_the_overridden_method(storage: OwnReading) -> None:
    study = optuna.create_study(storage=storage)
    storage.trials = [optuna.trial.create_trial(value=0.25)]
    assert [trial.value for trial in study.get_trials()] == [0.25]


def test_times_are_stored_in_utc(storage: OwnReading) -> None:
    before = datetime.now(UTC).replace(tzinfo=None)
    study = optuna.create_study(storage=storage)
    study.tell(study.ask(), 0.5)
    after = datetime.now(UTC).replace(tzinfo=None)
    with Session(storage.engine) as session:
        ((start, complete),) = session.execute(select(START_UTC, COMPLETE_UTC)).all()
    assert before <= start <= complete <= after


def test_a_parameter_that_is_set_is_read_as_any_other() -> None:
    trial = optuna.trial.create_trial(state=TrialState.RUNNING)
    distribution = FloatDistribution(0.0, 1.0)
    set_parameter(trial, "lr", 0.25, distribution)
    assert trial.params == {"lr": 0.25}
    assert trial.distributions == {"lr": distribution}


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_constraints_are_system_attributes_under_the_key() -> None:
    study = optuna.create_study()
    trial = study.ask()
    trial.set_constraint("works", -1.0)
    study.tell(trial, 0.5)
    assert study.trials[0].system_attrs[f"{CONSTRAINTS_KEY}:works"] == -1.0


def test_artifacts_are_system_attributes_with_their_metadata(tmp_path: Path) -> None:
    store: ArtifactStore = FileSystemArtifactStore(tmp_path)
    storage = optuna.storages.InMemoryStorage()
    study = optuna.create_study(storage=storage)
    trial = study.ask()
    (tmp_path / "a.png").write_bytes(b"")
    upload_artifact(artifact_store=store, file_path=str(tmp_path / "a.png"), study_or_trial=trial)
    study.tell(trial, 0.5)
    (meta,) = get_all_artifact_meta(study.trials[0], storage=storage)
    assert isinstance(meta, ArtifactMeta)
    stored = study.trials[0].system_attrs[f"{ARTIFACTS_ATTR_PREFIX}{meta.artifact_id}"]
    assert json.loads(stored) == asdict(meta)
