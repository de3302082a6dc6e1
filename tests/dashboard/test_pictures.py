"""Pictures of trials: what the dashboard finds of them, and what it is given when it asks."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.artifacts import get_all_artifact_meta, upload_artifact
from optuna.artifacts.exceptions import ArtifactNotFound
from told_sweep import ToldSweep

from lrsearch.dashboard.own_tables import OwnTables
from lrsearch.dashboard.pictures import Artifacts
from lrsearch.states import Outcome
from lrsearch.storage.optuna_bridge import picture_id, pictured

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def artifacts(url: str, tmp_path: Path) -> Iterator[Artifacts]:
    tables = OwnTables(url)
    yield Artifacts(tables, tmp_path / "artifacts")
    tables.close()


def test_every_trial_has_its_picture_from_the_start(sweep: ToldSweep, artifacts: Artifacts) -> None:
    done, diverged = sweep.trial(), sweep.trial(None, Outcome.DIVERGED, evaluations=0)
    running = sweep.begin()
    storage = optuna.storages.RDBStorage(sweep.url)
    for claim in (done, diverged, running):
        trial = storage.get_trial(claim.trial_id)
        (meta,) = get_all_artifact_meta(trial, storage=storage)
        assert (meta.filename, meta.mimetype) == (f"trial-{trial.number}.png", "image/png")
        assert artifacts.open_reader(meta.artifact_id).read().startswith(PNG)


def test_a_picture_changes_with_its_trial(sweep: ToldSweep, artifacts: Artifacts) -> None:
    claim = sweep.begin()
    before = artifacts.open_reader(picture_id(claim.trial_id)).read()
    assert artifacts.open_reader(picture_id(claim.trial_id)).read() == before
    sweep.evaluate(claim, 1, 0.5)
    assert artifacts.open_reader(picture_id(claim.trial_id)).read() != before


def test_what_somebody_has_attached_lies_in_the_folder(
    sweep: ToldSweep, artifacts: Artifacts, tmp_path: Path
) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("mine")
    (tmp_path / "artifacts").mkdir()
    study = optuna.load_study(study_name="digits", storage=sweep.url)
    name = upload_artifact(artifact_store=artifacts, file_path=str(file), study_or_trial=study)
    assert artifacts.open_reader(name).read() == b"mine"
    assert [one.name for one in (tmp_path / "artifacts").iterdir()] == [name]
    artifacts.remove(name)
    artifacts.remove(name)  # a study can be deleted wherever its files are
    with pytest.raises(ArtifactNotFound):
        artifacts.open_reader(name)


def test_the_folder_is_made_when_it_is_needed(artifacts: Artifacts, tmp_path: Path) -> None:
    assert not (tmp_path / "artifacts").exists()
    artifacts.write("abc", io.BytesIO(b"x"))
    assert artifacts.open_reader("abc").read() == b"x"


@pytest.mark.parametrize("trial_id", [0, 999])
def test_a_trial_that_is_not_there_has_no_picture(
    sweep: ToldSweep, artifacts: Artifacts, trial_id: int
) -> None:
    with pytest.raises(ArtifactNotFound):
        artifacts.open_reader(picture_id(trial_id))


@given(st.integers(0, 2**62))
def test_a_picture_names_its_trial(trial_id: int) -> None:
    assert pictured(picture_id(trial_id)) == trial_id


@given(st.uuids(version=4).map(str) | st.text())
def test_no_other_artifact_is_taken_for_a_picture(name: str) -> None:
    assert pictured(name) is None
