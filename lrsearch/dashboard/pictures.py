"""Pictures of trials as artifacts: drawn on request, never stored."""

from __future__ import annotations

import io
from pathlib import Path
from typing import BinaryIO

from optuna.artifacts import FileSystemArtifactStore
from optuna.artifacts.exceptions import ArtifactNotFound
from sqlalchemy import select

from lrsearch.analysis.study_data import read_trials
from lrsearch.dashboard.own_tables import OwnTables
from lrsearch.errors import UserError
from lrsearch.storage.optuna_bridge import pictured
from lrsearch.storage.tables import StudyRow, TrialSlotRow


class Artifacts:
    """Optuna's artifact store for the dashboard: pictures of trials, and a folder for the rest."""

    def __init__(self, tables: OwnTables, folder: Path) -> None:
        self._tables, self._folder = tables, folder
        self._files = FileSystemArtifactStore(folder)

    def open_reader(self, artifact_id: str) -> BinaryIO:
        """The content. Raises ArtifactNotFound."""
        trial_id = pictured(artifact_id)
        if trial_id is None:
            return self._files.open_reader(artifact_id)
        return io.BytesIO(self._picture(trial_id))

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        """Store an uploaded artifact."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._files.write(artifact_id, content_body)

    def remove(self, artifact_id: str) -> None:
        """Remove the file if it exists; a missing one does not stop the deletion of a study."""
        if pictured(artifact_id) is None and (self._folder / artifact_id).is_file():
            self._files.remove(artifact_id)

    def _picture(self, trial_id: int) -> bytes:
        from lrsearch.plots.static.trial import trial_picture

        database = self._tables.database()
        if database is None:
            raise ArtifactNotFound("these trials are not lrsearch's")
        with database.session() as session:
            row = session.execute(
                select(StudyRow.name, TrialSlotRow.trial_number)
                .join(TrialSlotRow, TrialSlotRow.study_id == StudyRow.study_id)
                .where(TrialSlotRow.trial_id == trial_id)
            ).first()
        if row is None:
            raise ArtifactNotFound(f"no trial {trial_id}")
        try:
            study = read_trials(database, row.name, [row.trial_number])
            return trial_picture(study.trial(row.trial_number), study, "png")
        except UserError as error:  # it has just been deleted
            raise ArtifactNotFound(str(error)) from error
